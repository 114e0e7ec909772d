package manifest_test

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// sealed signs any payload as Sign would a manifest's; pae turned off leaves DSSE's
// encoding out.
func sealed(t testing.TB, payload []byte, pae bool, keys ...ed25519.PrivateKey) []byte {
	t.Helper()
	type sig struct {
		KeyID string `json:"keyid"`
		Sig   string `json:"sig"`
	}
	e := struct {
		PayloadType string `json:"payloadType"`
		Payload     string `json:"payload"`
		Signatures  []sig  `json:"signatures"`
	}{PayloadType: manifest.PayloadType, Payload: base64.StdEncoding.EncodeToString(payload)}
	message := payload
	if pae {
		message = fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(manifest.PayloadType), manifest.PayloadType, len(payload), payload)
	}
	for _, k := range keys {
		id, err := manifest.KeyID(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		e.Signatures = append(e.Signatures, sig{id, base64.StdEncoding.EncodeToString(ed25519.Sign(k, message))})
	}
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func TestATrustedKeyCantMakeAnythingButAManifestAccepted(t *testing.T) {
	key := newKey(t)
	trusted := []crypto.PublicKey{key.Public()}
	good := encoded(t, built(t))
	if _, err := manifest.Verify(sealed(t, good, true, key), trusted, manifest.Expect{}); err != nil {
		t.Fatalf("what Sign would have made: %v", err)
	}
	for rule, payload := range map[string][]byte{
		"nothing":           {},
		"text":              []byte("hello"),
		"an object":         []byte("{}\n"),
		"another version":   []byte(strings.Replace(string(good), `"version": 1`, `"version": 2`, 1)),
		"other white space": []byte(strings.ReplaceAll(string(good), "\n", "")),
	} {
		_, err := manifest.Verify(sealed(t, payload, true, key), trusted, manifest.Expect{})
		wantReason(t, rule, err, manifest.Malformed)
	}
	// A signature over the bare manifest could have been made for another purpose.
	_, err := manifest.Verify(sealed(t, good, false, key), trusted, manifest.Expect{})
	wantReason(t, "without DSSE's encoding", err, manifest.BadSignature)
}

func TestAmongSeveralSignaturesNoTrustedOneMayBeBad(t *testing.T) {
	one, two, stranger := newKey(t), newKey(t), newKey(t)
	good := encoded(t, built(t))
	both := []crypto.PublicKey{one.Public(), two.Public()}
	for rule, envelope := range map[string][]byte{
		"the first is trusted":          sealed(t, good, true, one, stranger),
		"the last is trusted":           sealed(t, good, true, stranger, stranger, two),
		"both are":                      sealed(t, good, true, one, two),
		"one key twice, as it may sign": sealed(t, good, true, one, one),
	} {
		if _, err := manifest.Verify(envelope, both, manifest.Expect{}); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
	}
	// Take one's signature and give it two's name: trusted twice, good once.
	envelope := string(sealed(t, good, true, one, one))
	first, err := manifest.KeyID(one.Public())
	if err != nil {
		t.Fatal(err)
	}
	second, err := manifest.KeyID(two.Public())
	if err != nil {
		t.Fatal(err)
	}
	_, err = manifest.Verify([]byte(strings.Replace(envelope, first, second, 1)), both, manifest.Expect{})
	wantReason(t, "a trusted name on another's signature", err, manifest.BadSignature)
}

func TestWhatIsNotExpectedIsNotCompared(t *testing.T) {
	m := built(t)
	r := theRelease(t, configText)
	for rule, want := range map[string]manifest.Expect{
		"nothing":    {},
		"repository": {Repository: r.Repository},
		"tag":        {Tag: r.Tag},
		"commit":     {Commit: r.Commit},
		"config":     {Config: r.Config},
		"floor":      {Floor: 7},
		"everything": manifest.ExpectRelease(r, 7),
	} {
		if err := m.Check(want); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestTheCVMImageIsPartOfTheConfig(t *testing.T) {
	pinned := strings.Replace(configText, "0.14.12", "0.14.12@sha256:"+strings.Repeat("44", 32), 1)
	r := theRelease(t, pinned)
	m, err := manifest.Build(r, 1, created, machines())
	if err != nil {
		t.Fatal(err)
	}
	if want := "0.14.12@sha256:" + strings.Repeat("44", 32); m.Config.CVM != want {
		t.Errorf("the CVM image is %s, want %s", m.Config.CVM, want)
	}
	m.Config.CVM = "0.14.12"
	wantReason(t, "another CVM image", m.Check(manifest.ExpectRelease(r, 0)), manifest.OtherConfig)
}

func TestTimesAreWrittenInWholeSecondsUTC(t *testing.T) {
	local := created.Add(123 * time.Millisecond).In(time.FixedZone("CET", 3600))
	m, err := manifest.Build(theRelease(t, configText), 7, local, machines())
	if err != nil {
		t.Fatal(err)
	}
	if string(encoded(t, m)) != string(encoded(t, built(t))) {
		t.Errorf("created is %s, want %s", m.Created, created)
	}
}

func TestARefusalIsAnErrorOfItsOwn(t *testing.T) {
	_, err := manifest.Verify(nil, nil, manifest.Expect{})
	wrapped := fmt.Errorf("deploy: %w", err)
	var refused *manifest.RefusedError
	if !errors.As(wrapped, &refused) || refused.Reason != manifest.Missing || !strings.Contains(wrapped.Error(), "casemate release") {
		t.Errorf("%v, want a refusal that says what to do", wrapped)
	}
}

// Whatever sensible values a manifest has, it has one form, and survives its
// signing; and a release that differs in one thing is refused.
func TestManifestsOfAllKindsSurvive(t *testing.T) {
	key := newKey(t)
	trusted := []crypto.PublicKey{key.Public()}
	base := built(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := *base
		m.Repository = "https://" + rapid.StringMatching(`[a-z]{1,20}\.example/[a-z<>&]{1,20}`).Draw(rt, "repository")
		m.Tag = rapid.StringMatching(`v[0-9]{1,3}\.[0-9]{1,3}(-[a-zé]{1,8})?`).Draw(rt, "tag")
		m.Commit = rapid.StringMatching(`[0-9a-f]{40}`).Draw(rt, "commit")
		m.Number = rapid.Uint64Range(1, 1<<53).Draw(rt, "number")
		m.Created = time.Unix(rapid.Int64Range(946684800, 4102444800).Draw(rt, "created"), 0).UTC()
		m.Expected = slices.Clone(base.Expected)
		for i := range rapid.IntRange(0, 20).Draw(rt, "more") {
			m.Expected = append(m.Expected, manifest.Expected{
				Platform: attest.FormatSimulated, Shape: fmt.Sprintf("sim-%d", i), MemoryMiB: 1 + i, Measurement: &measure.Digest{byte(i), 1},
				CPUs: rapid.IntRange(1, 4096).Draw(rt, "cpus"), GPUs: rapid.IntRange(0, 64).Draw(rt, "gpus"),
			})
		}
		want := manifest.Expect{Repository: m.Repository, Tag: m.Tag, Commit: m.Commit, Floor: m.Number}
		got, err := manifest.Verify(signed(t, &m, key), trusted, want)
		if err != nil {
			rt.Fatal(err)
		}
		if string(encoded(t, got)) != string(encoded(t, &m)) {
			rt.Fatal("it came back otherwise")
		}
		want.Floor++
		var refused *manifest.RefusedError
		if err := got.Check(want); !errors.As(err, &refused) || refused.Reason != manifest.BelowFloor {
			rt.Fatalf("below the floor: %v", err)
		}
	})
}

func TestAConfigOfTheOtherNameIsTakenAsWell(t *testing.T) {
	c, _, err := release.Parse("tinfoil-config.yml", []byte(configText))
	if err != nil {
		t.Fatal(err)
	}
	r := theRelease(t, configText)
	r.ConfigName, r.Config = "tinfoil-config.yml", c
	m, err := manifest.Build(r, 7, created, machines())
	if err != nil || m.Config.Name != "tinfoil-config.yml" {
		t.Errorf("config %+v, %v", m, err)
	}
}
