package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

func recorded(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSigstoresPublicInstanceMeetsTheDemands: what is demanded of a bundle's
// certificate, log entry and time is met by what GitHub's workflows really make. This
// bundle signs a statement, so as a release's it is refused all the same.
func TestSigstoresPublicInstanceMeetsTheDemands(t *testing.T) {
	root, raw := recorded(t, "public-good-root.json"), recorded(t, "sigstore-js-2.0.0-provenance.json")
	verifier, err := newVerifier(root)
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	got, err := verifier.Verify(b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		t.Fatal(err)
	}
	c := got.Signature.Certificate
	if c.Issuer != workflow.Issuer || c.SubjectAlternativeName != "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main" {
		t.Errorf("signed by %s, vouched for by %s", c.SubjectAlternativeName, c.Issuer)
	}
	if a := judge(verifier, question(root, raw, sigstore.Identity{Issuer: c.Issuer, Subject: c.SubjectAlternativeName})); a.Reason != sigstore.Malformed || !strings.Contains(a.Detail, "statement") {
		t.Errorf("%+v, want a statement refused as malformed", a)
	}
	_, other := instance(t)
	if v, err := newVerifier(other); err != nil {
		t.Error(err)
	} else if _, err := v.Verify(b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithoutIdentitiesUnsafe())); err == nil {
		t.Error("it is accepted under another instance's root")
	}
}
