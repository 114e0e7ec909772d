package guestclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what tests wait for; nothing takes nearly as long.
const patience = 2 * time.Minute

// server is a guest with a fresh key. It returns its address and key digest.
func server(t *testing.T, h http.HandlerFunc) (string, [32]byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), sha256.Sum256(spki)
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAttestationTellsTheKeyItCameFrom(t *testing.T) {
	addr, want := server(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Host, r.URL.Query().Get("nonce"))
	})
	c := client(t, Config{Endpoint: addr, ServerName: "a.example"})
	if _, err := c.KeyDigest(); !errors.Is(err, ErrNoKey) {
		t.Errorf("before a connection: %v, expected ErrNoKey", err)
	}
	body, got, err := c.Attestation(t.Context(), [32]byte{0xab})
	if err != nil || got != want {
		t.Fatalf("key digest %x, %v; expected %x", got, err, want)
	}
	if !strings.HasPrefix(string(body), "a.example ab00") {
		t.Errorf("the guest was asked %q", body)
	}
}

func TestSecretsGoToTheVerifiedKeyOrNowhere(t *testing.T) {
	delivered := make(chan string, 8)
	h := func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			b, _ := io.ReadAll(r.Body)
			delivered <- string(b)
		}
	}
	good, digest := server(t, h)
	evil, _ := server(t, h)
	target := good
	c := client(t, Config{Endpoint: good, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, target)
	}})
	if err := c.DeliverSecrets(t.Context(), digest, []byte("s")); !errors.Is(err, ErrNoKey) {
		t.Errorf("without a verified connection: %v, expected ErrNoKey", err)
	}
	if _, _, err := c.Attestation(t.Context(), [32]byte{}); err != nil {
		t.Fatal(err)
	}
	if err := c.DeliverSecrets(t.Context(), [32]byte{1}, []byte("s")); !errors.Is(err, ErrKeyChanged) {
		t.Errorf("another digest was verified: %v, expected ErrKeyChanged", err)
	}
	if err := c.DeliverSecrets(t.Context(), digest, []byte("secret")); err != nil || <-delivered != "secret" {
		t.Errorf("to the verified key: %v", err)
	}
	c.Close()
	target = evil // the next connection meets another key
	if err := c.DeliverSecrets(t.Context(), digest, []byte("s")); !errors.Is(err, ErrKeyChanged) {
		t.Errorf("to another server: %v, expected ErrKeyChanged", err)
	}
	if len(delivered) != 0 {
		t.Error("a server that was not verified got a secret")
	}
	if err := c.DeliverSecrets(t.Context(), digest, make([]byte, 1<<20+1)); err == nil {
		t.Error("a message beyond the bound was sent")
	}
}

func TestHostileAnswers(t *testing.T) {
	for rule, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"an answer without end": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.CopyN(w, zeroes{}, 1<<20)
		}, "more than"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		}, "does not redirect"},
		"headers without end": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 64<<10))
		}, "header"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, "expected an object"},
		"silence": {func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // an answer could still arrive while the client closes
		}, "deadline"},
		"a refusal": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"code":"BUSY","text":"try again"}`)
		}, "try again (BUSY)"},
	} {
		t.Run(rule, func(t *testing.T) {
			addr, _ := server(t, c.answer)
			cfg := Config{Endpoint: addr, Timeout: patience}
			if rule == "silence" {
				cfg.Timeout = 300 * time.Millisecond
			}
			_, err := client(t, cfg).Boot(t.Context(), 0, 0)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, expected it to say %q", err, c.want)
			}
		})
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { return len(b), nil }

func TestRefusalKeepsItsCode(t *testing.T) {
	addr, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"code":"SECRETS_TAKEN","text":"x"}`)
	})
	_, err := client(t, Config{Endpoint: addr}).Boot(t.Context(), 0, 0)
	refusal, ok := errors.AsType[*guestapi.Refusal](err)
	if !ok || refusal.Code != guestapi.CodeSecretsTaken || refusal.Status != http.StatusConflict {
		t.Errorf("error is %v, expected a refusal with its code", err)
	}
}

func TestBootAsksForALongPoll(t *testing.T) {
	addr, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "after=7&wait=30" {
			t.Errorf("query is %q", r.URL.RawQuery)
		}
		fmt.Fprint(w, `{"version":8,"ready":true,"stopping":false,"stages":[]}`)
	})
	b, err := client(t, Config{Endpoint: addr}).Boot(t.Context(), 7, time.Hour)
	if err != nil || b.Version != 8 || !b.Ready {
		t.Errorf("status %+v, %v", b, err)
	}
}

func TestSilentPeersAreLeft(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := client(t, Config{Endpoint: l.Addr().String(), Timeout: 100 * time.Millisecond})
	start := time.Now()
	if _, err := c.Boot(t.Context(), 0, 0); err == nil || time.Since(start) > DefaultTimeout {
		t.Errorf("a peer that never answers the handshake: %v after %s", err, time.Since(start))
	}
	if _, err := New(Config{Endpoint: "nowhere"}); err == nil {
		t.Error("an endpoint without a port was taken")
	}
}
