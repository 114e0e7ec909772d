package netns

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// TestConnectionsToAForgottenHostAreCut holds connections that nobody but the
// gateways can end: no end and no reset comes through a dead link, and keepalive
// takes a minute from there.
func TestConnectionsToAForgottenHostAreCut(t *testing.T) {
	t.Parallel()
	f := start(t, "none")
	f.deploy(t, "web", dev.HostName(0)).Stop()
	var held []*connection
	for _, gateway := range f.GatewayAddrs {
		held = append(held, f.connect(t, gateway, "web"))
	}

	if err := f.net.calls.set(agent(0), condition{Cut: true}); err != nil {
		t.Fatal(err)
	}
	f.hostIs(t, 0, unreachable)
	for _, c := range held {
		c.get(t) // a host that does not answer the coordinator may serve
	}
	if err := f.net.traffic(agent(0), false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Hosts.RemoveHost(bounded(t), &cv1.RemoveHostRequest{Name: dev.HostName(0), Force: true}); err != nil {
		t.Fatal(err)
	}
	for n, c := range held {
		if _, err := c.answers.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the connection through gateway %d gives %v, want a reset", n+1, err)
		}
		until(t, func(ctx context.Context) string {
			const want = `casemate_gateway_connections_total{outcome="host_lost"} 1`
			if strings.Contains(f.metrics(ctx, t, n), want+"\n") {
				return ""
			}
			return fmt.Sprintf("gateway %d does not show %s", n+1, want)
		})
	}
}

// connection is a client's kept connection to a container.
type connection struct {
	*tls.Conn
	domain  string
	answers *bufio.Reader
}

// connect opens a connection through a gateway, up to its first answer.
func (f *fleet) connect(t *testing.T, gateway, name string) *connection {
	t.Helper()
	ctx := bounded(t)
	raw, err := f.net.dialer("client")(ctx, "tcp", gateway)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	// The sample enclaves' certificates are their own.
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: domain(name), MinVersion: tls.VersionTLS13}) //nolint:gosec // see above
	if err := errors.Join(c.SetDeadline(time.Now().Add(2*patience)), c.HandshakeContext(ctx)); err != nil {
		t.Fatal(err)
	}
	out := &connection{Conn: c, domain: domain(name), answers: bufio.NewReader(c)}
	out.get(t)
	return out
}

// get asks and wants an answer.
func (c *connection) get(t *testing.T) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", c.domain); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the answer is %s (%v)", resp.Status, err)
	}
}

// metrics returns what a gateway shows of itself.
func (f *fleet) metrics(ctx context.Context, t *testing.T, gateway int) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: f.net.dialer("coordinator")}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.AdminAddrs[gateway]+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(body)
}
