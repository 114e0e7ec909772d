package guest_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/enclave/secretmsg"
)

// message is a right delivery for the running guest.
func (r *running) message(pairs ...string) secretmsg.Message {
	r.t.Helper()
	nonce := [32]byte{0x5e}
	_, digest, err := r.client.Attestation(r.t.Context(), nonce)
	if err != nil {
		r.t.Fatal(err)
	}
	m := secretmsg.Message{Nonce: nonce, TLSKeyDigest: digest, Secrets: map[string][]byte{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		m.Secrets[pairs[i]] = []byte(pairs[i+1])
	}
	return m
}

// send signs and delivers a message over the pinned connection.
func (r *running) send(m secretmsg.Message, key ed25519.PrivateKey) error {
	r.t.Helper()
	raw, err := secretmsg.Sign(m, key)
	if err != nil {
		r.t.Fatal(err)
	}
	digest, err := r.client.KeyDigest()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.client.DeliverSecrets(r.t.Context(), digest, raw)
}

func (r *running) deliver(pairs ...string) {
	r.t.Helper()
	if err := r.send(r.message(pairs...), secretsKey); err != nil {
		r.t.Fatal(err)
	}
}

func code(err error) string {
	if refusal, ok := errors.AsType[*guestapi.Refusal](err); ok {
		return refusal.Code
	}
	return ""
}

func TestSecretsReachTheContainerThatDeclaresThem(t *testing.T) {
	file := strings.Replace(configFile("secrets: [TOKEN]", ""), "shim:",
		"  - name: db\n    image: ghcr.io/o/db"+digest+"\n    secrets: [PASSWORD]\nshim:", 1)
	r := start(t, file, platform("PASSWORD", "TOKEN"), nil)
	r.untilRunning(guestapi.StageSecrets)
	if got := r.events(); got != "" {
		t.Errorf("before the secrets came: %s", got)
	}
	r.deliver("TOKEN", "t", "PASSWORD", "p")
	r.untilReady()
	app, db := r.inputs["app"].Secrets, r.inputs["db"].Secrets
	if string(app["TOKEN"]) != "t" || len(app) != 1 || string(db["PASSWORD"]) != "p" || len(db) != 1 {
		t.Errorf("app got %d secrets and db %d, expected its own each", len(app), len(db))
	}
}

func TestSecretsAreRefused(t *testing.T) {
	stranger := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", 32)))
	for rule, c := range map[string]struct {
		change func(*secretmsg.Message)
		key    ed25519.PrivateKey
		code   string
	}{
		"signed by another key":               {func(*secretmsg.Message) {}, stranger, guestapi.CodeSecretsUnsigned},
		"meant for another enclave":           {func(m *secretmsg.Message) { m.TLSKeyDigest[0] ^= 1 }, secretsKey, guestapi.CodeSecretsForeign},
		"for an attestation that never was":   {func(m *secretmsg.Message) { m.Nonce[0] ^= 1 }, secretsKey, guestapi.CodeSecretsForeign},
		"over the nonce of the guest's own":   {func(m *secretmsg.Message) { m.Nonce = [32]byte{} }, secretsKey, guestapi.CodeSecretsForeign},
		"with a name that was not declared":   {func(m *secretmsg.Message) { m.Secrets["OTHER"] = nil }, secretsKey, guestapi.CodeSecretsUndeclared},
		"without a name that was declared":    {func(m *secretmsg.Message) { delete(m.Secrets, "B") }, secretsKey, guestapi.CodeSecretsUndeclared},
		"with nothing":                        {func(m *secretmsg.Message) { m.Secrets = nil }, secretsKey, guestapi.CodeSecretsUndeclared},
		"with a name in other case":           {func(m *secretmsg.Message) { delete(m.Secrets, "A"); m.Secrets["a"] = nil }, secretsKey, guestapi.CodeSecretsUndeclared},
		"a stranger's, for a foreign enclave": {func(m *secretmsg.Message) { m.TLSKeyDigest[0] ^= 1 }, stranger, guestapi.CodeSecretsUnsigned},
	} {
		t.Run(rule, func(t *testing.T) {
			r := start(t, configFile("secrets: [A, B]", ""), platform("A", "B"), nil)
			r.untilRunning(guestapi.StageSecrets)
			m := r.message("A", "1", "B", "2")
			c.change(&m)
			if err := r.send(m, c.key); code(err) != c.code {
				t.Errorf("refused with %v, expected %s", err, c.code)
			}
			if strings.Contains(r.events(), "start") {
				t.Error("containers started with refused secrets")
			}
			r.deliver("A", "1", "B", "2") // a right one may follow
			r.untilReady()
		})
	}
}

func TestSecretsAreTakenOnce(t *testing.T) {
	r := start(t, configFile("secrets: [A]", ""), platform("A"), nil)
	r.untilRunning(guestapi.StageSecrets)
	m := r.message("A", "first")
	if err := r.send(m, secretsKey); err != nil {
		t.Fatal(err)
	}
	if err := r.send(m, secretsKey); code(err) != guestapi.CodeSecretsTaken {
		t.Errorf("the same message again: %v, expected %s", err, guestapi.CodeSecretsTaken)
	}
	m.Secrets["A"] = []byte("second")
	if err := r.send(m, secretsKey); code(err) != guestapi.CodeSecretsTaken {
		t.Errorf("another value: %v, expected %s", err, guestapi.CodeSecretsTaken)
	}
	r.untilReady()
	if got := string(r.inputs["app"].Secrets["A"]); got != "first" {
		t.Errorf("the container got %q", got)
	}
}

func TestOneOfManyDeliveriesAtOnceIsTaken(t *testing.T) {
	r := start(t, configFile("secrets: [A]", ""), platform("A"), nil)
	r.untilRunning(guestapi.StageSecrets)
	answers := make([]error, 8)
	var senders sync.WaitGroup
	for i := range answers {
		m := r.message("A", fmt.Sprint(i))
		senders.Go(func() { answers[i] = r.send(m, secretsKey) })
	}
	senders.Wait()
	r.untilReady()
	for i, err := range answers {
		if taken := string(r.inputs["app"].Secrets["A"]) == fmt.Sprint(i); taken != (err == nil) || err != nil && code(err) != guestapi.CodeSecretsTaken {
			t.Errorf("delivery %d was answered with %v; taken is %q", i, err, r.inputs["app"].Secrets["A"])
		}
	}
}

func TestSecretsForAConfigWithoutAny(t *testing.T) {
	r := start(t, configFile("", ""), platform(), nil)
	r.untilReady()
	if err := r.send(r.message("A", "1"), secretsKey); code(err) != guestapi.CodeSecretsTaken {
		t.Errorf("refused with %v, expected %s", err, guestapi.CodeSecretsTaken)
	}
}

func TestSecretsMessageThatIsNone(t *testing.T) {
	r := start(t, configFile("secrets: [A]", ""), platform("A"), nil)
	r.untilRunning(guestapi.StageSecrets)
	for rule, c := range map[string]struct {
		body string
		code int
	}{
		"nothing":              {"", http.StatusBadRequest},
		"not JSON":             {"hello", http.StatusBadRequest},
		"an unsigned document": {`{"version":1,"secrets":{"A":""}}`, http.StatusBadRequest},
		"more than 1 MiB":      {strings.Repeat(" ", secretmsg.MaxBytes+1), http.StatusRequestEntityTooLarge},
	} {
		resp, err := r.web.Post("https://app.example"+guestapi.SecretsPath, "application/json", bytes.NewReader([]byte(c.body)))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.code {
			t.Errorf("%s: status %d, expected %d", rule, resp.StatusCode, c.code)
		}
	}
	if code, _ := r.get(guestapi.SecretsPath); code == http.StatusOK {
		t.Error("secrets can be asked for")
	}
}
