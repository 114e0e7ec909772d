package evidence

import (
	"encoding/hex"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
)

func platform() *agentv1.Platform {
	return &agentv1.Platform{
		ClusterId: "c1", SecretsKey: make([]byte, 32), Domain: "a.example",
		Variables: map[string]string{"A": "1", "B": "2"}, Secrets: []string{"S", "T"},
		SshKeys: []string{"ssh-ed25519 AAAA"},
	}
}

func TestPlatformDigestIsPinned(t *testing.T) {
	// Enclaves are launched with this value: it may not change between versions.
	const want = "d1b034d5b353f55cac1b6b1eeef549839161ba344388c89c8b891afb5d29cab2"
	for range 20 { // map order
		got := PlatformDigest(platform())
		if hex.EncodeToString(got[:]) != want {
			t.Fatalf("platform digest is %x, expected %s", got, want)
		}
	}
}

func TestReportDataIsPinned(t *testing.T) {
	const want = "222939958db10944e268c84551803afbb1a4bc13420e4d1da460d81986e7674c" +
		"e7f3e5db24a7e67d958dc00f85be44cb917f088d49cce26b097d650de1eb7180"
	got := ReportData([32]byte{1}, [32]byte{2}, DeviceEvidenceDigest(nil))
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("report data is %x, expected %s", got, want)
	}
}

func TestPlatformDigestChangesWithEveryField(t *testing.T) {
	seen := map[[32]byte]string{PlatformDigest(platform()): "the original"}
	for name, change := range map[string]func(*agentv1.Platform){
		"cluster":             func(p *agentv1.Platform) { p.ClusterId = "c2" },
		"secrets key":         func(p *agentv1.Platform) { p.SecretsKey[31] = 1 },
		"domain":              func(p *agentv1.Platform) { p.Domain = "b.example" },
		"a variable's value":  func(p *agentv1.Platform) { p.Variables["A"] = "2" },
		"a variable's name":   func(p *agentv1.Platform) { delete(p.Variables, "A"); p.Variables["C"] = "1" },
		"moved bytes":         func(p *agentv1.Platform) { p.Variables = map[string]string{"A1": "", "B": "2"} },
		"no variables":        func(p *agentv1.Platform) { p.Variables = nil },
		"order of secrets":    func(p *agentv1.Platform) { p.Secrets = []string{"T", "S"} },
		"joined secrets":      func(p *agentv1.Platform) { p.Secrets = []string{"ST"} },
		"debug":               func(p *agentv1.Platform) { p.Debug = true },
		"ssh keys":            func(p *agentv1.Platform) { p.SshKeys = nil },
		"an ssh key's secret": func(p *agentv1.Platform) { p.Secrets = append(p.Secrets, p.SshKeys[0]); p.SshKeys = nil },
		"everything":          func(p *agentv1.Platform) { proto.Reset(p) },
	} {
		p := platform()
		change(p)
		d := PlatformDigest(p)
		if other, taken := seen[d]; taken {
			t.Errorf("%s gives the same digest as %s", name, other)
		}
		seen[d] = name
	}
	// A field that the digest does not cover could be set by the host at will.
	if n := (&agentv1.Platform{}).ProtoReflect().Descriptor().Fields().Len(); n != 7 {
		t.Errorf("Platform has %d fields; PlatformDigest covers 7", n)
	}
}

func TestDeviceEvidenceDigestTellsListsApart(t *testing.T) {
	ab := DeviceEvidenceDigest([][]byte{[]byte("a"), []byte("b")})
	for name, other := range map[string][][]byte{
		"joined": {[]byte("ab")}, "swapped": {[]byte("b"), []byte("a")}, "none": nil,
		"an empty one more": {[]byte("a"), []byte("b"), {}},
	} {
		if DeviceEvidenceDigest(other) == ab {
			t.Errorf("%s: same digest", name)
		}
	}
}

func TestCheckNamesWhatDoesNotMatch(t *testing.T) {
	base := func() (Expect, *Document, Bound) {
		d := sample()
		e := Expect{Nonce: d.Nonce, TLSKeyDigest: d.TLSKeyDigest, ConfigDigest: d.ConfigDigest, PlatformDigest: d.PlatformDigest}
		return e, d, Bound{d.ReportData(), d.PlatformDigest}
	}
	for name, c := range map[string]struct {
		change func(*Expect, *Document, *Bound)
		fails  []string
	}{
		"nothing": {func(*Expect, *Document, *Bound) {}, nil},
		"an older answer": {func(e *Expect, _ *Document, _ *Bound) { e.Nonce[0] = 9 },
			[]string{CheckNonce, CheckReportData}},
		"another TLS key on the connection": {func(e *Expect, _ *Document, _ *Bound) { e.TLSKeyDigest[0] = 9 },
			[]string{CheckKeyBinding, CheckReportData}},
		"a document edited to name our key": {func(e *Expect, d *Document, _ *Bound) {
			e.TLSKeyDigest[0], d.TLSKeyDigest[0] = 9, 9
		}, []string{CheckReportData}},
		"swapped device evidence": {func(_ *Expect, d *Document, _ *Bound) { d.DeviceEvidence = nil },
			[]string{CheckReportData}},
		"another config": {func(e *Expect, _ *Document, _ *Bound) { e.ConfigDigest[0] = 9 }, []string{CheckConfig}},
		"another platform part": {func(e *Expect, _ *Document, _ *Bound) { e.PlatformDigest[0] = 9 },
			[]string{CheckPlatform}},
		"a platform digest that was not set at launch": {func(_ *Expect, _ *Document, b *Bound) { b.HostData[0] = 9 },
			[]string{CheckPlatform}},
	} {
		t.Run(name, func(t *testing.T) {
			e, d, b := base()
			c.change(&e, d, &b)
			v := attest.NewVerdict(d.Format, time.Unix(0, 0))
			e.Check(v, d, b)
			var failed []string
			for _, f := range v.Failed() {
				failed = append(failed, f.Name)
			}
			if len(failed) != len(c.fails) {
				t.Fatalf("failed checks are %v, expected %v", failed, c.fails)
			}
			for i := range failed {
				if failed[i] != c.fails[i] {
					t.Errorf("failed checks are %v, expected %v", failed, c.fails)
				}
			}
		})
	}
}

func TestParseNonce(t *testing.T) {
	good := hex.EncodeToString(make([]byte, 31)) + "ff"
	if n, err := ParseNonce(good); err != nil || n[31] != 0xff {
		t.Errorf("nonce %x, %v", n, err)
	}
	for _, bad := range []string{"", "00", good + "00", good[:62] + "FF", good[:62] + "zz"} {
		if _, err := ParseNonce(bad); err == nil {
			t.Errorf("%q was taken as a nonce", bad)
		}
	}
}
