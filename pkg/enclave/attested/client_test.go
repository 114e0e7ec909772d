package attested_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/enclave/attested"
)

func failedChecks(p *attested.Proof) []string {
	var names []string
	for _, c := range p.Verdict.Failed() {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

func TestAGoodEnclaveIsAcceptedWithWhatWasNotCompared(t *testing.T) {
	g := launch(t, newIdentity(t, domain))
	proof, err := clientOf(t, g, nil).Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := proof.Verdict
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	if proof.Key != g.id.digest || !slices.Equal(v.NotPinned, []string{"platform"}) || !slices.Equal(v.Insecure, []string{"simulated"}) {
		t.Errorf("key %x, not pinned %v, insecure %v; want the enclave's key, platform, simulated", proof.Key, v.NotPinned, v.Insecure)
	}
	pinned := clientOf(t, g, func(c *attested.Config) { p := sha256.Sum256([]byte("platform")); c.PlatformDigest = &p })
	proof, err = pinned.Verify(t.Context())
	if err != nil || proof.Verdict.Err() != nil || len(proof.Verdict.NotPinned) > 0 {
		t.Errorf("with the platform part pinned: %v, %+v; want it accepted with nothing left out", err, proof)
	}
}

func TestWithoutAReleaseTheVerdictSaysSo(t *testing.T) {
	g := launch(t, newIdentity(t, domain))
	open := clientOf(t, g, func(c *attested.Config) { c.Release, c.AnyRelease = nil, true })
	proof, err := open.Verify(t.Context())
	if err != nil || proof.Verdict.Err() != nil {
		t.Fatalf("%v, %v", err, proof)
	}
	for _, name := range []string{attested.NotPinnedRelease, "platform", "gpus"} {
		if !slices.Contains(proof.Verdict.NotPinned, name) {
			t.Errorf("not_pinned is %v, want %s in it", proof.Verdict.NotPinned, name)
		}
	}
	// What it says of the key counts all the same.
	g.change(func(g *guest) { g.edit = func(d *evidence.Document) { d.TLSKeyDigest[0] ^= 1 } })
	if proof, err = open.Verify(t.Context()); err != nil || proof.Verdict.Accepted {
		t.Errorf("%v, %+v; want evidence for another key refused whatever the release", err, proof)
	}
}

func TestAnEnclaveIsRefusedForItsReason(t *testing.T) {
	other := launch(t, newIdentity(t, domain))
	for _, tc := range []struct {
		rule   string
		guest  func(*guest)
		client func(*attested.Config)
		checks []string
	}{
		{"another measurement", func(g *guest) { g.measurement[0] ^= 1 }, nil, []string{simulated.CheckMeasurement}},
		{"another config", func(g *guest) { g.config[0] ^= 1 }, nil, []string{evidence.CheckConfig}},
		{
			"a release that doesn't run on this platform", func(*guest) {},
			func(c *attested.Config) { c.Release.Measurements = nil },
			[]string{simulated.CheckMeasurement, attested.CheckRelease},
		},
		{
			"another platform part", func(*guest) {},
			func(c *attested.Config) { c.PlatformDigest = new([32]byte) }, []string{evidence.CheckPlatform},
		},
		{
			"simulated evidence that no policy names", func(*guest) {},
			func(c *attested.Config) { c.Judge = judgeOf(t, judge.Vendors()) }, []string{simulated.CheckInsecureMode},
		},
		{"a debug enclave", func(g *guest) {
			g.edit = func(d *evidence.Document) { d.Insecure = append(d.Insecure, evidence.MarkDebug) }
		}, nil, []string{simulated.CheckDebugOff}},
		{
			"an enclave of another domain with the same release", func(g *guest) { g.id = newIdentity(t, "other.acme.test") }, nil,
			[]string{attested.CheckDomain},
		},
		{"an enclave of two domains", func(g *guest) { g.id = newIdentity(t, domain, "other.acme.test") }, nil, []string{attested.CheckDomain}},
		{"a certificate that the key hasn't signed", func(g *guest) { g.id = foreignCertificate(t) }, nil, []string{attested.CheckDomain}},
		{
			"a man in the middle who passes on another enclave's answers",
			func(g *guest) { g.raw = func(a []byte) []byte { return other.document(nonceOf(t, a)) } }, nil,
			[]string{evidence.CheckKeyBinding, evidence.CheckReportData},
		},
		{
			"a man in the middle who names his own key in them",
			func(g *guest) {
				g.edit = func(d *evidence.Document) { d.TLSKeyDigest = other.id.digest }
				g.raw = func(a []byte) []byte {
					mine, theirs := g.id.digest, other.id.digest
					return []byte(strings.Replace(string(a), hexOf(theirs), hexOf(mine), 1))
				}
			}, nil, []string{evidence.CheckReportData},
		},
		{"a replayed document", func(g *guest) {
			old := g.document([32]byte{1})
			g.raw = func([]byte) []byte { return old }
		}, nil, []string{evidence.CheckNonce, evidence.CheckReportData}},
		{"garbage", func(g *guest) { g.raw = func([]byte) []byte { return []byte("{}") } }, nil, []string{judge.CheckDocument}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			g := launch(t, newIdentity(t, domain))
			g.change(tc.guest)
			proof, err := clientOf(t, g, tc.client).Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(tc.checks)
			if got := failedChecks(proof); proof.Verdict.Accepted || !slices.Equal(got, tc.checks) {
				t.Errorf("failed checks are %v, want %v: %v", got, tc.checks, proof.Verdict.Err())
			}
		})
	}
}

// foreignCertificate names the domain, for a key that did not sign it.
func foreignCertificate(t *testing.T) identity {
	t.Helper()
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	return signedBy(t, keys[0], keys[1], domain)
}

func TestWhatGivesNoEvidenceGivesNoVerdict(t *testing.T) {
	g := launch(t, newIdentity(t, domain))
	g.change(func(g *guest) { g.version = tls.VersionTLS12 })
	if proof, err := clientOf(t, g, nil).Verify(t.Context()); err == nil {
		t.Errorf("over TLS 1.2: %+v, want an error", proof)
	}
	g.change(func(g *guest) { g.version = 0 })
	_ = g.server.Close()
	if proof, err := clientOf(t, g, nil).Verify(t.Context()); err == nil {
		t.Errorf("of nobody: %+v, want an error", proof)
	}
}

func TestClientsThatMakeNoSenseAreRefused(t *testing.T) {
	j := lax(t)
	for rule, cfg := range map[string]attested.Config{
		"no judge":                {Domain: domain, Release: expected()},
		"no release":              {Domain: domain, Judge: j},
		"a release and any":       {Domain: domain, Judge: j, Release: expected(), AnyRelease: true},
		"no domain":               {Judge: j, Release: expected()},
		"an address":              {Domain: "127.0.0.1", Judge: j, Release: expected()},
		"capitals":                {Domain: "API.acme.test", Judge: j, Release: expected()},
		"a header in the domain":  {Domain: "a\r\nb", Judge: j, Release: expected()},
		"an address without port": {Domain: domain, Address: "127.0.0.1", Judge: j, Release: expected()},
	} {
		if _, err := attested.New(cfg); err == nil {
			t.Errorf("%s: it was taken", rule)
		}
	}
}
