package manifest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signed(t testing.TB, m *manifest.Manifest, keys ...crypto.Signer) []byte {
	t.Helper()
	b, err := manifest.Sign(rand.Reader, m, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantReason(t *testing.T, rule string, err error, want manifest.Reason) {
	t.Helper()
	var refused *manifest.RefusedError
	if !errors.As(err, &refused) || refused.Reason != want {
		t.Errorf("%s: %v, want it refused with %s", rule, err, want)
		return
	}
	if !strings.Contains(err.Error(), string(want)) {
		t.Errorf("%s: the text %q doesn't name the reason", rule, err)
	}
}

func TestASignedManifestIsAcceptedForItsRelease(t *testing.T) {
	r, m := theRelease(t, configText), built(t)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for rule, key := range map[string]crypto.Signer{"ed25519": newKey(t), "P-256": p256, "P-384": p384} {
		got, err := manifest.Verify(signed(t, m, newKey(t), key), []crypto.PublicKey{newKey(t).Public(), key.Public()}, manifest.ExpectRelease(r, 7))
		if err != nil || got.Number != 7 || got.Tag != "v1.2.3" {
			t.Errorf("%s: %+v, %v", rule, got, err)
		}
	}
}

func TestEveryRefusalHasItsName(t *testing.T) {
	r, m, key := theRelease(t, configText), built(t), newKey(t)
	trusted := []crypto.PublicKey{key.Public()}
	good := signed(t, m, key)
	edit := func(change func(map[string]any)) []byte {
		var e map[string]any
		if err := json.Unmarshal(good, &e); err != nil {
			t.Fatal(err)
		}
		change(e)
		b, err := json.MarshalIndent(struct {
			PayloadType any `json:"payloadType"`
			Payload     any `json:"payload"`
			Signatures  any `json:"signatures"`
		}{e["payloadType"], e["payload"], e["signatures"]}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return append(b, '\n')
	}
	payload := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	plain := string(encoded(t, m))
	sigs := func(e map[string]any) map[string]any { return e["signatures"].([]any)[0].(map[string]any) }
	for _, c := range []struct {
		rule   string
		signed []byte
		want   manifest.Reason
	}{
		{"nothing", nil, manifest.Missing},
		{"an empty file", []byte(" \n"), manifest.Missing},
		{"no JSON", []byte("x"), manifest.Malformed},
		{"the manifest itself", []byte(plain), manifest.Malformed},
		{"text behind it", append(bytes.Clone(good), "x"...), manifest.Malformed},
		{"more than it may have", bytes.Repeat([]byte(" x"), manifest.MaxEnvelopeBytes), manifest.Malformed},
		{"another payload type", edit(func(e map[string]any) { e["payloadType"] = "application/json" }), manifest.Malformed},
		{"a payload that is no base64", edit(func(e map[string]any) { e["payload"] = "*" }), manifest.Malformed},
		{"a payload with line ends", edit(func(e map[string]any) { s := e["payload"].(string); e["payload"] = s[:4] + "\n" + s[4:] }), manifest.Malformed},
		{"a signature that is no base64", edit(func(e map[string]any) { sigs(e)["sig"] = "*" }), manifest.Malformed},
		{"no signatures", edit(func(e map[string]any) { e["signatures"] = []any{} }), manifest.Unsigned},
		{"seventeen signatures", edit(func(e map[string]any) { e["signatures"] = make([]struct{}, 17) }), manifest.Malformed},
		{"a signature of zeros", edit(func(e map[string]any) { sigs(e)["sig"] = payload(strings.Repeat("\x00", 64)) }), manifest.BadSignature},
		{"an empty signature", edit(func(e map[string]any) { sigs(e)["sig"] = "" }), manifest.BadSignature},
		{"a changed manifest", edit(func(e map[string]any) { e["payload"] = payload(strings.Replace(plain, "v1.2.3", "v1.2.4", 1)) }), manifest.BadSignature},
		{"the name of no key", edit(func(e map[string]any) { sigs(e)["keyid"] = "" }), manifest.SignedByAnother},
		{"another's signature", signed(t, m, newKey(t)), manifest.SignedByAnother},
	} {
		got, err := manifest.Verify(c.signed, trusted, manifest.ExpectRelease(r, 0))
		if got != nil {
			t.Errorf("%s: a manifest was given", c.rule)
		}
		wantReason(t, c.rule, err, c.want)
	}
	_, err := manifest.Verify(good, nil, manifest.Expect{})
	wantReason(t, "nobody is trusted", err, manifest.SignedByAnother)
	_, err = manifest.Verify(good, []crypto.PublicKey{"no key"}, manifest.Expect{})
	wantReason(t, "a trusted key of no kind", err, manifest.SignedByAnother)
}

func TestAManifestOfAnotherReleaseIsRefused(t *testing.T) {
	key := newKey(t)
	good, trusted := signed(t, built(t), key), []crypto.PublicKey{key.Public()}
	for rule, c := range map[string]struct {
		change func(*release.Release)
		floor  uint64
		want   manifest.Reason
	}{
		"another repository": {func(r *release.Release) { r.Repository += "2" }, 0, manifest.OtherRepository},
		"another tag":        {func(r *release.Release) { r.Tag = "v1.2.4" }, 0, manifest.OtherTag},
		"another commit":     {func(r *release.Release) { r.Commit = strings.Repeat("cd", 20) }, 0, manifest.OtherCommit},
		"another config":     {func(r *release.Release) { r.Config = theRelease(t, configText+"# edited\n").Config }, 0, manifest.OtherConfig},
		"below the floor":    {func(*release.Release) {}, 8, manifest.BelowFloor},
	} {
		r := theRelease(t, configText)
		c.change(&r)
		_, err := manifest.Verify(good, trusted, manifest.ExpectRelease(r, c.floor))
		wantReason(t, rule, err, c.want)
	}
	lying := built(t)
	lying.Images = lying.Images[:1]
	_, err := manifest.Verify(signed(t, lying, key), trusted, manifest.ExpectRelease(theRelease(t, configText), 0))
	wantReason(t, "other images than the config's", err, manifest.OtherConfig)
	larger := built(t)
	larger.Expected[1].CPUs++
	_, err = manifest.Verify(signed(t, larger, key), trusted, manifest.ExpectRelease(theRelease(t, configText), 0))
	wantReason(t, "another size than the config's", err, manifest.OtherShape)
	if _, err := manifest.Verify(good, trusted, manifest.Expect{}); err != nil {
		t.Errorf("nothing expected: %v", err)
	}
}

// One bit of each byte, another from byte to byte: all bits take minutes under the
// race detector.
func TestAFlippedBitInAnyByteOfAnEnvelopeIsRefused(t *testing.T) {
	key := newKey(t)
	good, trusted := signed(t, built(t), key), []crypto.PublicKey{key.Public()}
	for i := range len(good) - 1 { // the line end at the end may be left out
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if _, err := manifest.Verify(bad, trusted, manifest.Expect{}); err == nil {
			t.Fatalf("bit %d of byte %d flipped, and accepted", i%8, i)
		}
	}
	for n := 0; n < len(good)-1; n += 5 {
		if _, err := manifest.Verify(good[:n], trusted, manifest.Expect{}); err == nil {
			t.Fatalf("cut to %d bytes, and accepted", n)
		}
	}
}

// brokenSigner is a key service that answers with nonsense.
type brokenSigner struct {
	crypto.Signer
	err error
}

func (b brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return []byte("nonsense"), b.err
}

func TestOnlyGoodKeysSign(t *testing.T) {
	m := built(t)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	down := errors.New("the key service is down")
	many := make([]crypto.Signer, 17)
	for i := range many {
		many[i] = newKey(t)
	}
	for rule, keys := range map[string][]crypto.Signer{
		"none": nil, "too many": many, "RSA": {weak}, "P-521": {p521},
		"a key service that is down":       {brokenSigner{newKey(t), down}},
		"a key service that says nonsense": {brokenSigner{newKey(t), nil}},
	} {
		if _, err := manifest.Sign(rand.Reader, m, keys...); err == nil {
			t.Errorf("%s: signed", rule)
		}
	}
	m.Number = 0
	if _, err := manifest.Sign(rand.Reader, m, newKey(t)); err == nil {
		t.Error("a manifest that makes no sense was signed")
	}
}

func TestKeysAreReadFromPEM(t *testing.T) {
	block := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	key := newKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	marshal := func(k any) string { der, err := x509.MarshalPKCS8PrivateKey(k); return block("PRIVATE KEY", der, err) }
	public := func(k any) string { der, err := x509.MarshalPKIXPublicKey(k); return block("PUBLIC KEY", der, err) }
	s, err := manifest.ParseSigner([]byte(marshal(key)))
	if err != nil || !key.Equal(s) {
		t.Errorf("the key came back as %v, %v", s, err)
	}
	keys, err := manifest.ParseKeys([]byte(public(key.Public()) + public(newKey(t).Public())))
	if err != nil || len(keys) != 2 || !key.Public().(ed25519.PublicKey).Equal(keys[0]) {
		t.Errorf("keys %v, %v; want two", keys, err)
	}
	for rule, text := range map[string]string{
		"nothing": "", "text": "key", "a public one": public(key.Public()), "two": marshal(key) + marshal(key),
		"RSA": marshal(weak), "garbage": block("PRIVATE KEY", []byte("x"), nil),
	} {
		if _, err := manifest.ParseSigner([]byte(text)); err == nil {
			t.Errorf("private key, %s: read", rule)
		}
	}
	for rule, text := range map[string]string{
		"nothing": "", "text": "key", "a private one": marshal(key), "RSA": public(&weak.PublicKey),
		"garbage": block("PUBLIC KEY", []byte("x"), nil), "too many": strings.Repeat(public(key.Public()), 65),
	} {
		if _, err := manifest.ParseKeys([]byte(text)); err == nil {
			t.Errorf("public keys, %s: read", rule)
		}
	}
	id, err := manifest.KeyID(key.Public())
	if err != nil || len(id) != 64 || id != strings.ToLower(id) {
		t.Errorf("key id %q, %v; want 64 hex digits", id, err)
	}
}

// The example of DSSE's protocol.md, with this package's payload type.
func TestWhatIsSignedIsDSSEsPreAuthenticationEncoding(t *testing.T) {
	key, m := newKey(t), built(t)
	payload := encoded(t, m)
	message := fmt.Sprintf("DSSEv1 %d %s %d %s", len(manifest.PayloadType), manifest.PayloadType, len(payload), payload)
	var e struct {
		Signatures []struct{ Sig []byte }
	}
	if err := json.Unmarshal(signed(t, m, key), &e); err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(key.Public().(ed25519.PublicKey), []byte(message), e.Signatures[0].Sig) {
		t.Error("the signature is not over DSSE's encoding")
	}
}

func FuzzVerify(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	f.Add(signed(f, built(f), key))
	f.Add([]byte(`{"payloadType":"` + manifest.PayloadType + `","payload":"","signatures":[]}`))
	f.Add([]byte("{}"))
	trusted := []crypto.PublicKey{key.Public()}
	good := encoded(f, built(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := manifest.Verify(raw, trusted, manifest.Expect{})
		if err == nil && !bytes.Equal(encoded(t, m), good) {
			t.Fatalf("a manifest that nobody signed was accepted: %+v", m)
		}
		var refused *manifest.RefusedError
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("refused without a reason: %v", err)
		}
	})
}
