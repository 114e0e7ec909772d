package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/release/sigstore"
	"github.com/casemate-dev/casemate/pkg/release/sigstore/sigstoretest"
)

var (
	artifact = []byte(`{"version": 1}` + "\n")
	workflow = sigstore.Identity{
		Issuer:  "https://token.actions.githubusercontent.com",
		Subject: "https://github.com/acme/api/.github/workflows/release.yaml@refs/heads/main",
	}
	person = sigstore.Identity{Issuer: "https://accounts.example.com", Subject: "release@acme.test"}
)

func instance(t testing.TB) (s *sigstoretest.Sigstore, root []byte) {
	t.Helper()
	s, err := sigstoretest.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if root, err = s.TrustedRoot(); err != nil {
		t.Fatal(err)
	}
	return s, root
}

func bundleBy(t testing.TB, s *sigstoretest.Sigstore, who sigstore.Identity, flaw sigstoretest.Flaw) []byte {
	t.Helper()
	b, err := s.Sign(artifact, who, flaw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func question(root, bundle []byte, identities ...sigstore.Identity) sigstore.Request {
	return sigstore.Request{Version: sigstore.Version, Artifact: artifact, Bundle: bundle, TrustedRoot: root, Identities: identities}
}

func TestAGoodBundleIsAccepted(t *testing.T) {
	s, root := instance(t)
	for _, who := range []sigstore.Identity{workflow, person} {
		a, err := answer(question(root, bundleBy(t, s, who, sigstoretest.None), person, workflow))
		if err != nil || !a.Accepted || a.Identity != who || a.Reason != "" || a.Detail != "" {
			t.Errorf("%+v, %v; want it accepted, signed by %s", a, err, who)
		}
	}
}

// edited changes a bundle's JSON.
func edited(t testing.TB, raw []byte, change func(b map[string]any)) []byte {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Fatal(err)
	}
	change(b)
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func in(b map[string]any, path ...string) map[string]any {
	for _, p := range path {
		if l, ok := b[p].([]any); ok {
			b = l[0].(map[string]any)
		} else {
			b = b[p].(map[string]any)
		}
	}
	return b
}

func TestEveryOtherBundleIsRefusedForItsReason(t *testing.T) {
	s, root := instance(t)
	_, otherRoot := instance(t)
	good := bundleBy(t, s, workflow, sigstoretest.None)
	flawed := func(f sigstoretest.Flaw) []byte { return bundleBy(t, s, workflow, f) }
	entry := func(b map[string]any) map[string]any { return in(b, "verificationMaterial", "tlogEntries") }
	swapped := func(issuer, subject string) sigstore.Identity {
		return sigstore.Identity{Issuer: issuer, Subject: subject}
	}
	strange := sha256.Sum256([]byte("another"))
	for _, c := range []struct {
		rule string
		ask  sigstore.Request
		want sigstore.Reason
		says string
	}{
		{"another identity", question(root, good, person), sigstore.OtherIdentity, workflow.Subject},
		{"another issuer", question(root, good, swapped("https://issuer.test", workflow.Subject)), sigstore.OtherIdentity, workflow.Issuer},
		{"another branch", question(root, good, swapped(workflow.Issuer, workflow.Subject+"2")), sigstore.OtherIdentity, "not by whom"},
		{"the beginning of the identity", question(root, good, swapped(workflow.Issuer, strings.TrimSuffix(workflow.Subject, "main"))), sigstore.OtherIdentity, "not by whom"},
		{"issuer and subject of two identities", question(root, good, swapped(workflow.Issuer, person.Subject), swapped(person.Issuer, workflow.Subject)), sigstore.OtherIdentity, "not by whom"},
		{"another trusted root", question(otherRoot, good, workflow), sigstore.BadSignature, "log"},
		{"an expired certificate", question(root, flawed(sigstoretest.Expired), workflow), sigstore.BadSignature, "validity"},
		{"no entry in the log", question(root, flawed(sigstoretest.NotLogged), workflow), sigstore.BadSignature, "log entries"},
		{"no word of the certificate log", question(root, flawed(sigstoretest.NoCertificateTimestamp), workflow), sigstore.BadSignature, "SCT"},
		{"the certificate log's word for another", question(root, flawed(sigstoretest.OtherCertificateTimestamp), workflow), sigstore.BadSignature, "SCT"},
		{"another time than the log's", question(root, flawed(sigstoretest.NoPromise), workflow), sigstore.BadSignature, "log entries"},
		{"a tree that the log didn't sign", question(root, flawed(sigstoretest.OtherTree), workflow), sigstore.BadSignature, "root hash"},
		{"another artifact", func() sigstore.Request {
			q := question(root, good, workflow)
			q.Artifact = append(bytes.Clone(artifact), ' ')
			return q
		}(), sigstore.BadSignature, "signature"},
		{"another signature", question(root, edited(t, good, func(b map[string]any) {
			in(b, "messageSignature")["signature"] = base64.StdEncoding.EncodeToString([]byte("0123456789"))
		}), workflow), sigstore.BadSignature, "signature"},
		{"another digest", question(root, edited(t, good, func(b map[string]any) {
			in(b, "messageSignature", "messageDigest")["digest"] = base64.StdEncoding.EncodeToString(strange[:])
		}), workflow), sigstore.BadSignature, "digest"},
		{"another's certificate", question(root, edited(t, good, func(b map[string]any) {
			var other map[string]any
			if err := json.Unmarshal(bundleBy(t, s, person, sigstoretest.None), &other); err != nil {
				t.Fatal(err)
			}
			in(b, "verificationMaterial")["certificate"] = in(other, "verificationMaterial", "certificate")
		}), person), sigstore.BadSignature, "certificate"},
		{"another log's name", question(root, edited(t, good, func(b map[string]any) {
			in(entry(b), "logId")["keyId"] = base64.StdEncoding.EncodeToString(strange[:])
		}), workflow), sigstore.BadSignature, "log entries"},
		{"a place in the log that isn't its own", question(root, edited(t, good, func(b map[string]any) { entry(b)["logIndex"] = "1" }), workflow), sigstore.BadSignature, "log entries"},
		{"the same entry twice", question(root, edited(t, good, func(b map[string]any) {
			m := in(b, "verificationMaterial")
			m["tlogEntries"] = []any{entry(b), entry(b)}
		}), workflow), sigstore.BadSignature, "duplicate"},
		{"no bundle", question(root, nil, workflow), sigstore.Malformed, ""},
		{"no JSON", question(root, []byte("x"), workflow), sigstore.Malformed, ""},
		{"an unknown member", question(root, edited(t, good, func(b map[string]any) { b["more"] = 1 }), workflow), sigstore.Malformed, "more"},
		{"a cut bundle", question(root, good[:len(good)-1], workflow), sigstore.Malformed, ""},
		{"more than a bundle", question(root, append(bytes.Clone(good), good...), workflow), sigstore.Malformed, ""},
		{"no kind of entry", question(root, edited(t, good, func(b map[string]any) { delete(entry(b), "kindVersion") }), workflow), sigstore.Malformed, ""},
		{"no proof that it was logged", question(root, edited(t, good, func(b map[string]any) { delete(entry(b), "inclusionProof") }), workflow), sigstore.Malformed, "proof"},
		{"a signature by a key", question(root, edited(t, good, func(b map[string]any) {
			m := in(b, "verificationMaterial")
			delete(m, "certificate")
			m["publicKey"] = map[string]any{"hint": "x"}
		}), workflow), sigstore.Malformed, "casemate release sign"},
		{"a statement about the artifact", question(root, edited(t, good, func(b map[string]any) {
			delete(b, "messageSignature")
			b["dsseEnvelope"] = map[string]any{"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": []any{map[string]any{"sig": "AA=="}}}
		}), workflow), sigstore.Malformed, "statement"},
		{"an oversized bundle", question(root, make([]byte, sigstore.MaxBundleBytes+1), workflow), sigstore.Malformed, "at most"},
	} {
		a, err := answer(c.ask)
		if err != nil || a.Accepted || a.Reason != c.want || !strings.Contains(a.Detail, c.says) || a.Identity != (sigstore.Identity{}) {
			t.Errorf("%s: %+v, %v; want it refused with %s, saying %q", c.rule, a, err, c.want, c.says)
		}
	}
}

// TestNoChangedBundleIsAcceptedForAnother cuts and flips a good bundle everywhere. A
// changed bundle may be accepted only where the change says nothing, and then it is
// still the same signer's over the same artifact.
func TestNoChangedBundleIsAcceptedForAnother(t *testing.T) {
	s, root := instance(t)
	good := bundleBy(t, s, workflow, sigstoretest.None)
	verifier, err := newVerifier(root)
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if a := judge(verifier, question(root, good[:n], workflow)); a.Accepted {
			t.Errorf("cut to %d bytes it is accepted", n)
		}
	}
	accepted := 0
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		a := judge(verifier, question(root, b, workflow))
		switch {
		case a.Accepted:
			accepted++
			if !harmless(good, i) {
				t.Errorf("with byte %d of %q changed it is accepted", i, around(good, i))
			}
		case a.Reason != sigstore.Malformed && a.Reason != sigstore.BadSignature:
			t.Errorf("byte %d: %+v", i, a)
		}
	}
	t.Logf("%d of %d changes say nothing", accepted, len(good))
}

func around(b []byte, i int) []byte { return b[max(0, i-20):min(len(b), i+20)] }

// harmless says whether a byte lies where nothing is said: in the last digit before
// base64's padding, in the version of the bundle's form, in the kind of a log's entry
// (which the signed entry itself names), or in the name of the signature beneath a
// checkpoint (the key is known by its id).
func harmless(b []byte, i int) bool {
	if bytes.HasPrefix(b[i+1:], []byte("=")) { // bits that are thrown away
		return true
	}
	for _, c := range []struct{ begin, end string }{
		{"bundle.v0.", "+json"}, {`"kindVersion":{"kind":"`, `"}`}, {`\n— `, " "},
	} {
		if at := bytes.Index(b, []byte(c.begin)); at >= 0 && i >= at+len(c.begin) && i < at+len(c.begin)+bytes.Index(b[at+len(c.begin):], []byte(c.end)) {
			return true
		}
	}
	return false
}
