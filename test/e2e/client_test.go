package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/dev"
)

// domain is where a container serves unless it says otherwise.
func domain(name string) string { return name + "." + dev.Org + "." + dev.BaseDomain }

// answer is what a simulated workload says of itself.
type answer struct {
	Container  string            `json:"container"`
	Revision   int64             `json:"revision"`
	Tag        string            `json:"tag"`
	Enclave    string            `json:"enclave"`
	Containers []string          `json:"containers"`
	Variables  map[string]string `json:"variables"`
	Secrets    map[string]string `json:"secrets"`
}

// client returns a client that reaches a domain through a gateway, with a new
// connection for each request.
func client(gateway, domain string) *http.Client {
	var d net.Dialer
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, gateway)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: domain, MinVersion: tls.VersionTLS13}, //nolint:gosec // what answers is told by what it says
	}}
}

// ask sends one request and returns the answer.
func (f *fleet) ask(t *testing.T, name string) answer {
	t.Helper()
	a, err := get(bounded(t), f.GatewayAddr, domain(name))
	if err != nil {
		t.Fatalf("ask %s: %v", name, err)
	}
	return a
}

func get(ctx context.Context, gateway, domain string) (a answer, retErr error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+domain+"/", nil)
	if err != nil {
		return a, err
	}
	resp, err := client(gateway, domain).Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return a, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("status %s: %.200s", resp.Status, body)
	}
	return a, json.Unmarshal(body, &a)
}

// refused wants nobody to answer for a domain.
func (f *fleet) refused(t *testing.T, domain string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if a, err := get(ctx, f.GatewayAddr, domain); err == nil {
		t.Errorf("%s still answers: %+v", domain, a)
	}
}

// load puts a container under the load of clients until the test ends.
func (f *fleet) load(t *testing.T, name string) *dev.Load {
	t.Helper()
	l := dev.StartLoad(t.Context(), dev.Target{Gateway: f.GatewayAddr, Domain: domain(name), Clients: clients, Timeout: patience})
	t.Cleanup(l.Stop)
	if err := l.AwaitAnswer(bounded(t)); err != nil {
		t.Fatal(err)
	}
	return l
}

// settled returns what clients saw, once what was asked before is answered.
func settled(t *testing.T, l *dev.Load) dev.Stats {
	t.Helper()
	for range 3 {
		if err := l.AwaitAnswer(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	return l.Take()
}

// clients is how many ask at the same time in a load.
const clients = 4

// unharmed wants clients to have lost nothing, and to have been answered.
func unharmed(t *testing.T, l *dev.Load) dev.Stats {
	t.Helper()
	s := settled(t, l)
	if s.Failed > 0 || s.Sent == 0 {
		t.Errorf("of %d requests %d failed: %v", s.Sent, s.Failed, s.Errors)
	}
	return s
}
