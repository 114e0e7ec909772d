package sigstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var who = Identity{Issuer: "https://issuer.test", Subject: "https://git.test/acme/api/release.yaml@refs/heads/main"}

// helper is a program that does as the script says, with an empty environment.
func helper(t *testing.T, script string) *Verifier {
	t.Helper()
	path := filepath.Join(t.TempDir(), "casemate-sigstore")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &Verifier{Helper: path, TrustedRoot: []byte("{}"), Timeout: time.Minute}
}

// says answers and reads the question to its end.
func says(answer string) string { return "while read -r line; do :; done; echo '" + answer + "'" }

func TestTheProgramsAnswerIsTaken(t *testing.T) {
	good := fmt.Sprintf(`{"version":1,"accepted":true,"identity":{"issuer":%q,"subject":%q}}`, who.Issuer, who.Subject)
	got, err := helper(t, says(good)).Verify(t.Context(), []byte("a"), []byte("b"), []Identity{who})
	if err != nil || got != who {
		t.Errorf("got %v, %v", got, err)
	}
	for _, reason := range []Reason{Malformed, BadSignature, OtherIdentity} {
		_, err := helper(t, says(`{"version":1,"accepted":false,"reason":"`+string(reason)+`","detail":"why"}`)).Verify(t.Context(), nil, nil, []Identity{who})
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Reason != reason || !strings.Contains(err.Error(), "why") {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

func TestNothingElseIsTakenForAnAnswer(t *testing.T) {
	for rule, script := range map[string]string{
		"silence":             "exit 0",
		"a failure":           "exit 2",
		"a word":              says("yes"),
		"an unknown member":   says(`{"version":1,"accepted":false,"reason":"BUNDLE_MALFORMED","more":1}`),
		"more than an answer": says(`{"version":1,"accepted":false,"reason":"BUNDLE_MALFORMED"}{}`),
		"another version":     says(`{"version":2,"accepted":false,"reason":"BUNDLE_MALFORMED"}`),
		"an unknown reason":   says(`{"version":1,"accepted":false,"reason":"OTHER"}`),
		"accepted for what":   says(`{"version":1,"accepted":true,"reason":"BUNDLE_MALFORMED"}`),
		"a stranger":          says(`{"version":1,"accepted":true,"identity":{"issuer":"https://issuer.test","subject":"x"}}`),
		"an endless answer":   "while echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; do i=x$i; [ ${#i} -gt 2000 ] && exit 0; done",
		"an environment":      `while read -r line; do :; done; [ -n "$HOME$USER" ] || exit 3; echo '{}'`,
	} {
		_, err := helper(t, script).Verify(t.Context(), []byte("a"), []byte("b"), []Identity{who})
		var refused *RefusedError
		if !errors.Is(err, ErrUnavailable) || errors.As(err, &refused) {
			t.Errorf("%s: %v, want no answer", rule, err)
		}
		if rule == "an endless answer" && !strings.Contains(fmt.Sprint(err), "more than") {
			t.Errorf("%s: %.300v, want it cut off", rule, err)
		}
	}
	_, err := (&Verifier{Helper: "/nowhere/casemate-sigstore", TrustedRoot: []byte("{}")}).Verify(t.Context(), nil, nil, []Identity{who})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("no program: %v", err)
	}
	slow := helper(t, "while :; do :; done")
	slow.Timeout = 50 * time.Millisecond
	if _, err := slow.Verify(t.Context(), nil, nil, []Identity{who}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "in time") {
		t.Errorf("no answer in time: %v", err)
	}
}
