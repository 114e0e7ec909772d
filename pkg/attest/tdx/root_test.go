package tdx_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// TestIntelRootIsTheKnownOne compares the embedded root's key with the one in
// Intel's PCK certificate profile.
func TestIntelRootIsTheKnownOne(t *testing.T) {
	key, err := tdx.IntelRoot().PublicKey.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const want = "040ba9c4c0c0c86193a3fe23d6b02cda10a8bbd4e88e48b4458561a36e705525f567918e2edc88e40d860bd0cc4ee26aacc988e505a953558c453f6b0904ae7394"
	if hex.EncodeToString(key) != want {
		t.Errorf("the embedded root has the key %x", key)
	}
}

func TestRootMayBeHandedInAsPEMOrDER(t *testing.T) {
	intel := tdx.IntelRoot()
	for name, in := range map[string][]byte{"DER": intel.Raw, "PEM": tdxtest.ChainPEM(intel)} {
		root, err := tdx.ParseRoot(in)
		if err != nil || !root.Equal(intel) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIntelsRootHandedInIsNoForeignRoot(t *testing.T) {
	vec := loadVector(t, "tdx_quote")
	verdict := newVerifier(t, tdx.Config{Root: tdx.IntelRoot()}).Verify(tdx.Evidence{Quote: vec.quote}, vec.collateral, listed(), quoteTime)
	mustAccept(t, verdict)
	if slices.Contains(verdict.Insecure, tdx.MarkForeignRoot) {
		t.Error("Intel's root is marked as foreign")
	}
}

func TestUnusableRootIsRefused(t *testing.T) {
	pki := must(testPKI())
	tmpl := *pki.Root.Cert
	tmpl.PublicKey, tmpl.SignatureAlgorithm = nil, 0
	key := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	der := must(x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, &key.PublicKey, key))
	for name, cert := range map[string]*x509.Certificate{
		"an intermediate":    pki.PCKCA.Cert,
		"an end certificate": pki.TCBSigning.Cert,
		"a P-384 root":       must(x509.ParseCertificate(der)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tdx.NewVerifier(tdx.Config{Root: cert}); err == nil {
				t.Error("expected an error")
			}
			if _, err := tdx.ParseRoot(cert.Raw); err == nil {
				t.Error("expected an error")
			}
		})
	}
	for name, in := range map[string][]byte{"nothing": nil, "text": []byte("root"), "cut DER": tdx.IntelRoot().Raw[:100]} {
		if _, err := tdx.ParseRoot(in); err == nil {
			t.Errorf("%s was read as a root", name)
		}
	}
}

// TestReissuedRootOfTheSameKeyIsTheRoot: Intel has issued its root certificate
// more than once for one key.
func TestReissuedRootOfTheSameKeyIsTheRoot(t *testing.T) {
	s := newScene(t, 4, 2)
	tmpl := *s.pki.Root.Cert
	tmpl.NotAfter = tmpl.NotAfter.AddDate(1, 0, 0)
	der := must(x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, &s.pki.Root.Key.PublicKey, s.pki.Root.Key))
	s.platform = must(s.pki.NewPlatform(s.ext))
	s.platform.Chain = tdxtest.ChainPEM(s.platform.PCK.Cert, s.pki.PCKCA.Cert, must(x509.ParseCertificate(der)))
	mustAccept(t, s.run(t))
}

func TestPlatformSurvivesItsEncoding(t *testing.T) {
	s := newScene(t, 4, 2)
	original := must(s.pki.NewPlatform(s.ext))
	s.platform = must(tdxtest.UnmarshalPlatform(must(original.Marshal())))
	mustAccept(t, s.run(t))
	for name, in := range map[string][]byte{"nothing": nil, "a chain alone": original.Chain, "keys alone": must(original.Marshal())[:400]} {
		if _, err := tdxtest.UnmarshalPlatform(in); err == nil {
			t.Errorf("%s was read as a platform", name)
		}
	}
}
