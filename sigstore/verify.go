package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// answer verifies a bundle. An error means that the question can't be answered:
// its trusted root is none.
func answer(q sigstore.Request) (sigstore.Answer, error) {
	trusted, err := root.NewTrustedRootFromJSON(q.TrustedRoot)
	if err != nil {
		return sigstore.Answer{}, fmt.Errorf("read the trusted root: %w", err)
	}
	verifier, err := verify.NewVerifier(trusted, demands(trusted)...)
	if err != nil {
		return sigstore.Answer{}, fmt.Errorf("use the trusted root: %w", err)
	}
	b, err := readBundle(q.Bundle)
	if err != nil {
		return refuse(sigstore.Malformed, err), nil
	}
	// Who signed is compared below, exactly, so that another identity is told from a
	// bad signature.
	result, err := verifier.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(q.Artifact)), verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return refuse(sigstore.BadSignature, err), nil
	}
	if result.Signature == nil || result.Signature.Certificate == nil {
		return refuse(sigstore.Malformed, errors.New("it is signed by a key, not by a certificate's owner")), nil
	}
	c := result.Signature.Certificate
	who := sigstore.Identity{Issuer: c.Issuer, Subject: c.SubjectAlternativeName}
	if !slices.Contains(q.Identities, who) {
		return refuse(sigstore.OtherIdentity, fmt.Errorf("it is signed by %.512s, who is not trusted for this repository", who)), nil
	}
	return sigstore.Answer{Version: sigstore.Version, Accepted: true, Identity: who}, nil
}

// demands are what a bundle must have: an entry in a transparency log, a time that
// a log or a timestamping authority vouches for, and, where the root names a
// certificate transparency log, its word for the certificate.
func demands(trusted *root.TrustedRoot) []verify.VerifierOption {
	out := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}
	if len(trusted.CTLogs()) > 0 {
		out = append(out, verify.WithSignedCertificateTimestamps(1))
	}
	return out
}

// readBundle takes bundles that sign the artifact itself, as cosign sign-blob
// makes them. A statement about it, such as its provenance, says something else.
func readBundle(raw []byte) (*bundle.Bundle, error) {
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	if b.GetMessageSignature() == nil {
		return nil, errors.New("it signs a statement, not the manifest itself: make it with cosign sign-blob --bundle")
	}
	return b, nil
}

func refuse(why sigstore.Reason, err error) sigstore.Answer {
	return sigstore.Answer{Version: sigstore.Version, Reason: why, Detail: fmt.Sprintf("%.2000s", err.Error())}
}
