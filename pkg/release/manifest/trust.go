package manifest

import (
	"context"
	"crypto"

	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// Trust is who may sign a manifest: one of the keys, or one of the identities.
type Trust struct {
	// Keys are trusted for envelopes.
	Keys []crypto.PublicKey
	// Identities are trusted for Sigstore bundles, which Bundles verifies. Without
	// it they are refused.
	Identities []sigstore.Identity
	Bundles    Bundles
}

// Files are a signed manifest: an envelope, or the manifest itself beside the
// Sigstore bundle over it, or both. What isn't there is nil.
type Files struct {
	Envelope, Plain, Bundle []byte
}

// Open opens a manifest by the envelope, or else by the bundle, and says by whom it is
// signed, in words. Refusals are *RefusedError; other errors mean that a bundle could
// not be verified.
func (t Trust) Open(ctx context.Context, files Files) (o *Opened, by string, err error) {
	var refusal error
	if files.Envelope != nil && (len(t.Keys) > 0 || files.Bundle == nil) {
		o, err := Open(files.Envelope, t.Keys)
		if err == nil {
			return o, "key " + o.KeyID, nil
		}
		refusal = err
	}
	if files.Bundle != nil && (len(t.Identities) > 0 || refusal == nil) {
		return t.openBundle(ctx, files)
	}
	if refusal == nil {
		refusal = refuse(Unsigned, "the manifest was published without a signature: sign it with casemate release sign")
	}
	return nil, "", refusal
}

func (t Trust) openBundle(ctx context.Context, files Files) (*Opened, string, error) {
	switch {
	case len(t.Identities) == 0 || t.Bundles == nil:
		return nil, "", refuse(SignedByAnother, "it is signed with Sigstore, and only keys are trusted here")
	case files.Plain == nil:
		return nil, "", refuse(Malformed, "the Sigstore bundle stands alone: publish the manifest itself beside it, as casemate release attach does")
	}
	o, who, err := OpenBundle(ctx, t.Bundles, files.Plain, files.Bundle, t.Identities)
	if err != nil {
		return nil, "", err
	}
	return o, who.String(), nil
}
