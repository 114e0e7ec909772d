package manifest

import (
	"context"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// Bundles verifies Sigstore bundles; *sigstore.Verifier does.
type Bundles interface {
	// Verify says which of the identities signed the artifact. A bundle that is not
	// accepted is a *sigstore.RefusedError; other errors say nothing of it.
	Verify(ctx context.Context, artifact, bundle []byte, identities []sigstore.Identity) (sigstore.Identity, error)
}

// OpenBundle opens a manifest by the Sigstore bundle over its bytes, which one of the
// trusted identities must have signed, and says which. Refusals are *RefusedError;
// other errors mean that the bundle could not be verified. Empty files count as
// missing.
func OpenBundle(ctx context.Context, by Bundles, plain, bundle []byte, trusted []sigstore.Identity) (*Opened, sigstore.Identity, error) {
	var none sigstore.Identity
	if len(plain) == 0 || len(bundle) == 0 {
		return nil, none, refuse(Missing, "the manifest, or the Sigstore bundle over it, is not there: make it with casemate release measure and cosign sign-blob --bundle")
	}
	who, err := by.Verify(ctx, plain, bundle, trusted)
	var refused *sigstore.RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, none, refuse(bundleReason(refused.Reason), "the Sigstore bundle: %s", refused.Detail)
	case err != nil:
		return nil, none, fmt.Errorf("verify the release's Sigstore bundle: %w", err)
	}
	m, err := Parse(plain)
	if err != nil {
		return nil, none, refuse(Malformed, "%v", err)
	}
	return &Opened{Manifest: m, Payload: plain}, who, nil
}

func bundleReason(r sigstore.Reason) Reason {
	switch r {
	case sigstore.OtherIdentity:
		return SignedByAnother
	case sigstore.BadSignature:
		return BadSignature
	}
	return Malformed
}
