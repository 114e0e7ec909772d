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
	verifier, err := newVerifier(q.TrustedRoot)
	if err != nil {
		return sigstore.Answer{}, err
	}
	return judge(verifier, q), nil
}

// newVerifier believes the CAs and logs of a trusted root.
func newVerifier(trustedRoot []byte) (*verify.Verifier, error) {
	trusted, err := root.NewTrustedRootFromJSON(trustedRoot)
	if err != nil {
		return nil, fmt.Errorf("read the trusted root: %w", err)
	}
	if len(trusted.FulcioCertificateAuthorities()) == 0 || len(trusted.RekorLogs()) == 0 {
		return nil, errors.New("read the trusted root: it names no certificate authority, or no transparency log")
	}
	verifier, err := verify.NewVerifier(trusted, demands(trusted)...)
	if err != nil {
		return nil, fmt.Errorf("use the trusted root: %w", err)
	}
	return verifier, nil
}

// judge says whether a bundle is good. Whoever publishes a bundle chooses its bytes:
// one that brings the libraries to panic is as good as unreadable.
func judge(verifier *verify.Verifier, q sigstore.Request) (a sigstore.Answer) {
	defer func() {
		if p := recover(); p != nil {
			a = refuse(sigstore.Malformed, fmt.Errorf("it can't be verified: %v", p))
		}
	}()
	b, err := readBundle(q.Bundle)
	if err != nil {
		return refuse(sigstore.Malformed, err)
	}
	// Who signed is compared below, exactly, so that another identity is told from a
	// bad signature.
	result, err := verifier.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(q.Artifact)), verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return refuse(sigstore.BadSignature, err)
	}
	if result.Signature == nil || result.Signature.Certificate == nil {
		return refuse(sigstore.Malformed, errByKey)
	}
	c := result.Signature.Certificate
	who := sigstore.Identity{Issuer: c.Issuer, Subject: c.SubjectAlternativeName}
	if !slices.Contains(q.Identities, who) {
		return refuse(sigstore.OtherIdentity, fmt.Errorf("it is signed by %.512s, and not by whom it must be", who))
	}
	return sigstore.Answer{Version: sigstore.Version, Accepted: true, Identity: who}
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
	if len(raw) > sigstore.MaxBundleBytes {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", len(raw), sigstore.MaxBundleBytes)
	}
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	if b.GetMessageSignature() == nil {
		return nil, errors.New("it signs a statement, not the manifest itself: make it with cosign sign-blob --bundle")
	}
	if b.GetVerificationMaterial().GetPublicKey() != nil {
		return nil, errByKey
	}
	return b, nil
}

var errByKey = errors.New("it is signed by a key, not by a certificate's owner: such keys sign with casemate release sign")

func refuse(why sigstore.Reason, err error) sigstore.Answer {
	return sigstore.Answer{Version: sigstore.Version, Reason: why, Detail: fmt.Sprintf("%.2000s", err.Error())}
}
