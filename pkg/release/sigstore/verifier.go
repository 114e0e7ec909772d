package sigstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/pkg/oneshot"
)

// ErrUnavailable means that the program gave no answer to believe.
var ErrUnavailable = errors.New("the Sigstore verifier gives no answer")

// DefaultTimeout bounds one question.
const DefaultTimeout = 30 * time.Second

// Verifier asks casemate-sigstore. It is safe for concurrent use.
type Verifier struct {
	// Helper is the program's path.
	Helper string
	// TrustedRoot is Sigstore's trusted_root.json.
	TrustedRoot []byte
	// Timeout bounds one question; 0 means DefaultTimeout.
	Timeout time.Duration
}

// Verify says which of the identities signed the artifact. A bundle that is not
// accepted is a *RefusedError; other errors say nothing of the bundle.
func (v *Verifier) Verify(ctx context.Context, artifact, bundle []byte, identities []Identity) (Identity, error) {
	question, err := v.question(artifact, bundle, identities)
	if err != nil {
		return Identity{}, err
	}
	timeout := v.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	raw, err := oneshot.Ask(ctx, oneshot.Command{
		Path: v.Helper, Env: []string{}, // not even PATH or a proxy
		Stdin: question, Timeout: timeout, MaxOut: maxAnswerBytes,
	})
	if err != nil {
		return Identity{}, fmt.Errorf("%w: ask %s: %w", ErrUnavailable, v.Helper, err)
	}
	a, err := parseAnswer(raw)
	switch {
	case err != nil:
		return Identity{}, fmt.Errorf("%w: ask %s: %w", ErrUnavailable, v.Helper, err)
	case !a.Accepted:
		return Identity{}, &RefusedError{a.Reason, a.Detail}
	case !slices.Contains(identities, a.Identity):
		return Identity{}, fmt.Errorf("%w: ask %s: it accepts %s, who was not asked about", ErrUnavailable, v.Helper, a.Identity)
	}
	return a.Identity, nil
}

func (v *Verifier) question(artifact, bundle []byte, identities []Identity) ([]byte, error) {
	switch {
	case len(artifact) > MaxArtifactBytes || len(bundle) > MaxBundleBytes:
		return nil, &RefusedError{Malformed, fmt.Sprintf("artifact and bundle have %d and %d bytes, at most %d and %d are read", len(artifact), len(bundle), MaxArtifactBytes, MaxBundleBytes)}
	case len(v.TrustedRoot) == 0 || len(v.TrustedRoot) > MaxTrustedRootBytes:
		return nil, fmt.Errorf("the trusted root has %d bytes, want 1 to %d", len(v.TrustedRoot), MaxTrustedRootBytes)
	case len(identities) == 0 || len(identities) > MaxIdentities:
		return nil, fmt.Errorf("%d identities are trusted, want 1 to %d", len(identities), MaxIdentities)
	}
	for _, i := range identities {
		if err := i.Check(); err != nil {
			return nil, err
		}
	}
	q, err := json.Marshal(Request{Version, artifact, bundle, v.TrustedRoot, identities})
	if err != nil {
		return nil, fmt.Errorf("encode the question: %w", err)
	}
	return q, nil
}

// parseAnswer reads an answer strictly.
func parseAnswer(raw []byte) (Answer, error) {
	var a Answer
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, fmt.Errorf("its answer can't be read: %w", err)
	}
	if len(bytes.TrimSpace(raw[d.InputOffset():])) > 0 {
		return a, errors.New("it says more than its answer")
	}
	known := a.Reason == Malformed || a.Reason == BadSignature || a.Reason == OtherIdentity
	switch {
	case a.Version != Version:
		return a, fmt.Errorf("it speaks version %d of the protocol, this program %d: install both from one release", a.Version, Version)
	case a.Accepted && (a.Reason != "" || a.Detail != ""), !a.Accepted && (!known || a.Identity != Identity{}):
		return a, errors.New("its answer contradicts itself")
	}
	return a, nil
}
