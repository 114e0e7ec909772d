package secretmsg

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), 32)))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func message() Message {
	return Message{
		Nonce: [32]byte{1}, TLSKeyDigest: [32]byte{2},
		Secrets: map[string][]byte{"TOKEN": []byte("hunter2"), "EMPTY": {}},
	}
}

func signed(t testing.TB, m Message) string {
	t.Helper()
	raw, err := Sign(m, key('a'))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestSignedMessageIsOpened(t *testing.T) {
	m := message()
	got, err := Open([]byte(signed(t, m)), public(key('a')))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Secrets, got.Secrets); diff != "" || got.Nonce != m.Nonce || got.TLSKeyDigest != m.TLSKeyDigest {
		t.Errorf("message changed on its way: %s", diff)
	}
}

func TestMessageIsRefused(t *testing.T) {
	good := signed(t, message())
	change := func(old, now string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the sample has no %s", old)
		}
		return strings.Replace(good, old, now, 1)
	}
	for rule, c := range map[string]struct{ raw, want string }{
		"moved to another key":          {change(`"tls_key_digest":"02`, `"tls_key_digest":"03`), "does not fit"},
		"moved to another attestation":  {change(`"nonce":"01`, `"nonce":"03`), "does not fit"},
		"a changed value":               {change("aHVudGVyMg==", "aHVudGVyMw=="), "does not fit"},
		"a renamed secret":              {change("TOKEN", "TOKEM"), "does not fit"},
		"a secret taken away":           {change(`"EMPTY":"",`, ``), "does not fit"},
		"no signature":                  {good[:strings.Index(good, `,"signature"`)] + "}", `"signature" is missing`},
		"a short signature":             {change(`"signature":"`, `"signature":"AA==","x":"`), "unknown member"},
		"a secret given twice":          {change(`"EMPTY":""`, `"TOKEN":"aHVudGVyMg==","EMPTY":""`), "given twice"},
		"an unknown member":             {change("{", `{"x":1,`), "unknown member"},
		"another version":               {change(`"version":1`, `"version":2`), "version 2"},
		"a name that is none":           {change("TOKEN", "TO KEN"), "no name of a secret"},
		"a value in loose base64":       {change("aHVudGVyMg==", "aHVudGVyMg"), "canonical base64"},
		"a value that is too large":     {change("aHVudGVyMg==", base64.StdEncoding.EncodeToString(make([]byte, MaxValue+1))), "at most"},
		"too many secrets":              {change(`"EMPTY":""`, many(MaxSecrets)), "more than 256"},
		"a message beyond its bound":    {good + strings.Repeat(" ", MaxBytes), "are read"},
		"something after the message":   {good + "1", "something follows"},
		"secrets that are not a object": {change(`"secrets":{"EMPTY":"","TOKEN":"aHVudGVyMg=="}`, `"secrets":[]`), "expected an object"},
	} {
		t.Run(rule, func(t *testing.T) {
			_, err := Open([]byte(c.raw), public(key('a')))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %.200v, expected it to say %q", err, c.want)
			}
		})
	}
}

func many(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(`"N%d":""`, i))
	}
	return strings.Join(parts, ",")
}

func TestMessageOfAnotherSignerIsRefused(t *testing.T) {
	_, err := Open([]byte(signed(t, message())), public(key('b')))
	if !errors.Is(err, ErrSignature) {
		t.Errorf("error is %v, expected ErrSignature", err)
	}
	if _, err := Open([]byte(signed(t, message())), nil); err == nil {
		t.Error("opened without a key")
	}
}

func TestSignRefuses(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(message(), ec); err == nil {
		t.Error("signed with an ECDSA key")
	}
	m := message()
	m.Secrets["no name"] = nil
	if _, err := Sign(m, key('a')); err == nil {
		t.Error("signed what Open would refuse")
	}
}

func TestMovedBytesChangeWhatIsSigned(t *testing.T) {
	a := Message{Secrets: map[string][]byte{"AB": []byte("C")}}
	b := Message{Secrets: map[string][]byte{"A": []byte("BC")}}
	if string(a.signed()) == string(b.signed()) {
		t.Error("two messages have one canonical encoding")
	}
}

func TestValuesAreNeverPrinted(t *testing.T) {
	var log strings.Builder
	m := message()
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "m", m)
	for _, text := range []string{log.String(), fmt.Sprint(m), fmt.Sprintf("%v %+v %#v", m, m, m), fmt.Sprint(&m)} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "104 117") || !strings.Contains(text, "TOKEN") {
			t.Errorf("printed as %s, expected names without values", text)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(signed(f, message())))
	f.Add([]byte(`{"secrets":{"A":"","A":""}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, signature, err := parse(raw)
		if err != nil {
			return
		}
		if len(signature) != ed25519.SignatureSize || len(m.Secrets) > MaxSecrets {
			t.Errorf("read beyond its bounds: %v", m)
		}
		if _, err := Sign(*m, key('a')); err != nil {
			t.Errorf("what was read can't be written: %v", err)
		}
	})
}
