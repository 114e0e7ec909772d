package sigstore

import (
	"fmt"
	"strings"
)

// Version is the version of the protocol.
const Version = 1

// Bounds on a question; byte strings are in base64 within it.
const (
	MaxArtifactBytes    = 1 << 20
	MaxBundleBytes      = 1 << 20
	MaxTrustedRootBytes = 1 << 20
	MaxIdentities       = 64
	maxAnswerBytes      = 64 << 10
)

// Identity is who signs: by a certificate that Sigstore's CA issued for it.
type Identity struct {
	// Issuer is the OpenID Connect issuer that vouched for it, exactly, such as
	// https://token.actions.githubusercontent.com.
	Issuer string `json:"issuer"`
	// Subject is the certificate's subject alternative name, exactly: an address, or
	// a workflow with its branch, such as
	// https://github.com/acme/api/.github/workflows/release.yaml@refs/heads/main.
	Subject string `json:"subject"`
}

// String names subject and issuer.
func (i Identity) String() string { return i.Subject + " (by " + i.Issuer + ")" }

// Check says what is wrong with an identity that is to be trusted.
func (i Identity) Check() error {
	switch {
	case !strings.HasPrefix(i.Issuer, "https://"):
		return fmt.Errorf("issuer %q is not an https address", i.Issuer)
	case i.Subject == "" || strings.ContainsAny(i.Subject, "*\n"):
		return fmt.Errorf("subject %q is not one certificate's name: patterns are not taken", i.Subject)
	}
	return nil
}

// Request is a question: did one of these identities sign this artifact?
type Request struct {
	// Version is that of the protocol.
	Version int `json:"version"`
	// Artifact is what was signed.
	Artifact []byte `json:"artifact"`
	// Bundle is the Sigstore bundle, JSON.
	Bundle []byte `json:"bundle"`
	// TrustedRoot is Sigstore's trusted_root.json with the CAs and logs to believe.
	TrustedRoot []byte `json:"trusted_root"`
	// Identities are those of whom one must have signed.
	Identities []Identity `json:"identities"`
}

// Reason names why a bundle is not accepted.
type Reason string

// The reasons.
const (
	// Malformed: the bundle can't be read, or is of a kind that is not taken.
	Malformed Reason = "BUNDLE_MALFORMED"
	// BadSignature: signature, certificate, log entry or time don't verify.
	BadSignature Reason = "BUNDLE_BAD_SIGNATURE"
	// OtherIdentity: it verifies, and somebody else signed.
	OtherIdentity Reason = "BUNDLE_OTHER_IDENTITY"
)

// Answer is what the program says of a question.
type Answer struct {
	// Version is that of the protocol.
	Version int `json:"version"`
	// Accepted says that Identity signed the artifact; Reason and Detail say
	// otherwise why not.
	Accepted bool     `json:"accepted"`
	Identity Identity `json:"identity,omitzero"`
	Reason   Reason   `json:"reason,omitempty"`
	Detail   string   `json:"detail,omitempty"`
}

// RefusedError says that a bundle is not accepted.
type RefusedError struct {
	Reason Reason
	Detail string
}

// Error gives reason and detail.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("bundle refused: %s [%s]", e.Detail, e.Reason)
}
