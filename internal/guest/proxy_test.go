package guest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

// dummy is a listener nobody uses.
type dummy struct{ net.Listener }

func webClient(addr string) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // evidence is tested elsewhere
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}}
}

func (r *running) get(path string, headers ...string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "https://app.example"+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.web.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func echo(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Host, r.URL, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"))
}

func withUpstream(h http.HandlerFunc) func(*guest.Config, *machine) {
	return func(_ *guest.Config, m *machine) { m.handler = h }
}

func TestProxyPassesTheRequestOn(t *testing.T) {
	r := start(t, configFile("", ""), platform(), withUpstream(echo))
	r.untilReady()
	_, body := r.get("/a//b?q=1", "X-Forwarded-For", "6.6.6.6")
	if body != "app.example /a//b?q=1 https 127.0.0.1" {
		t.Errorf("the upstream saw %q", body)
	}
	if code, _ := r.get("/.well-known/casemate/other"); code != http.StatusNotFound {
		t.Errorf("the guest's own paths reach the upstream: %d", code)
	}
}

func TestShimRules(t *testing.T) {
	rules := "paths: [/v1/*, /health]\norigins: [\"https://good.example\"]"
	for rule, c := range map[string]struct {
		shim, path, origin string
		code               int
		body               string
	}{
		"a path under a prefix":        {rules, "/v1/chat", "", 200, ""},
		"an exact path":                {rules, "/health", "", 200, ""},
		"a path beside it":             {rules, "/healthz", "", 404, guestapi.CodeNotFound},
		"a path that is not listed":    {rules, "/admin", "", 404, guestapi.CodeNotFound},
		"a path that climbs out":       {rules, "/v1/../admin", "", 400, guestapi.CodeInvalid},
		"one that hides the dots":      {rules, "/v1/%2e%2e/admin", "", 400, guestapi.CodeInvalid},
		"an empty segment":             {rules, "/v1//x", "", 400, guestapi.CodeInvalid},
		"a listed origin":              {rules, "/v1/chat", "https://good.example", 200, ""},
		"an origin that is not listed": {rules, "/v1/chat", "https://evil.example", 403, guestapi.CodeOrigin},
		"any origin without a list":    {"", "/v1/chat", "https://evil.example", 200, ""},
		"keys that nobody can check":   {"authenticated: true", "/v1/chat", "", 401, guestapi.CodeUnauthenticated},
		"an open path beside them":     {"authenticated: true\nauthenticated-endpoints: [/admin]", "/v1/chat", "", 200, ""},
	} {
		t.Run(rule, func(t *testing.T) {
			r := start(t, configFile("", c.shim), platform(), withUpstream(echo))
			r.untilReady()
			code, body := r.get(c.path, "Origin", c.origin)
			if code != c.code || !strings.Contains(body, c.body) {
				t.Errorf("%s from %q: %d %s, expected %d", c.path, c.origin, code, body, c.code)
			}
		})
	}
}

func TestRateLimit(t *testing.T) {
	r := start(t, configFile("", "rate-limit: 0.001\nrate-burst: 2"), platform(), withUpstream(echo))
	r.untilReady()
	var codes []int
	for range 3 {
		code, _ := r.get("/")
		codes = append(codes, code)
	}
	if fmt.Sprint(codes) != "[200 200 429]" {
		t.Errorf("answers %v, expected a burst of 2 and then 429", codes)
	}
}

func TestPreflightOfAListedOrigin(t *testing.T) {
	r := start(t, configFile("", `origins: ["https://good.example"]`), platform(), withUpstream(echo))
	r.untilReady()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodOptions, "https://app.example/", nil)
	req.Header.Set("Origin", "https://good.example")
	req.Header.Set("Access-Control-Request-Method", "POST")
	resp, err := r.web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Access-Control-Allow-Origin") != "https://good.example" {
		t.Errorf("preflight: %d %v", resp.StatusCode, resp.Header)
	}
}

func TestStreamsAreFlushedAsTheyCome(t *testing.T) {
	next := make(chan struct{})
	r := start(t, configFile("", ""), platform(), withUpstream(func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = fmt.Fprintln(w, "token")
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}))
	r.untilReady()
	resp, err := r.web.Get("https://app.example/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for range 3 { // each token must arrive before the next one is written
		if !lines.Scan() || lines.Text() != "token" {
			t.Fatalf("read %q, %v", lines.Text(), lines.Err())
		}
		next <- struct{}{}
	}
}

// upgrade opens an echo over a protocol upgrade.
func (r *running) upgrade() (net.Conn, *bufio.Reader) {
	r.t.Helper()
	conn, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // as above
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	br, err := handshake(conn)
	if err != nil {
		r.t.Fatal(err)
	}
	return conn, br
}

func echoUpgrade(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "echo")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.Copy(conn, rw)
}

func TestUpgradesPassBothWays(t *testing.T) {
	r := start(t, configFile("", ""), platform(), withUpstream(echoUpgrade))
	r.untilReady()
	conn, br := r.upgrade()
	_, _ = fmt.Fprintln(conn, "hello")
	if line, err := br.ReadString('\n'); line != "hello\n" {
		t.Errorf("echo says %q, %v", line, err)
	}
}

func TestPowerOffLetsRequestsInFlightEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, configFile("", ""), platform(), withUpstream(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = fmt.Fprint(w, "whole")
	}))
	r.untilReady()
	answer := make(chan string, 1)
	go func() {
		resp, err := r.web.Get("https://app.example/")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		b, _ := io.ReadAll(resp.Body)
		answer <- string(b)
	}()
	select {
	case <-entered:
	case got := <-answer:
		t.Fatalf("the request ended before it came through: %s", got)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	refused(t, r.addr)
	if strings.Contains(r.events(), "stop") {
		t.Error("a container was stopped while a request was in flight")
	}
	close(release)
	if got := <-answer; got != "whole" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestPowerOffAnswersWhoIsConnected: a client that was connected before the power
// button was pressed, and asks afterwards, is answered.
func TestPowerOffAnswersWhoIsConnected(t *testing.T) {
	r := start(t, configFile("", ""), platform(), func(cfg *guest.Config, m *machine) {
		cfg.Grace, cfg.Silence = time.Minute, time.Minute
		m.handler = http.HandlerFunc(echo)
	})
	r.untilReady()
	conn, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // evidence is tested elsewhere
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	refused(t, r.addr)
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: app.example\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("a client that was connected was not answered: %v", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("it was answered %s, connection closed: %v", resp.Status, resp.Close)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestPowerOffDoesNotWaitForTheSilent: a connection without a request holds the
// power-off up for a moment only.
func TestPowerOffDoesNotWaitForTheSilent(t *testing.T) {
	r := start(t, configFile("", ""), platform(), func(cfg *guest.Config, _ *machine) {
		cfg.Grace, cfg.Silence = time.Hour, 10*time.Millisecond
	})
	conn, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // evidence is tested elsewhere
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// refused waits until new connections are refused.
func refused(t *testing.T, addr string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
	t.Error("new connections are accepted after the power button was pressed")
}

func TestPowerOffCutsWhatOutlivesTheGrace(t *testing.T) {
	r := start(t, configFile("", ""), platform(), func(cfg *guest.Config, m *machine) {
		cfg.Grace = 100 * time.Millisecond
		m.handler = http.HandlerFunc(echoUpgrade)
	})
	r.untilReady()
	_, br := r.upgrade()
	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	// The connection would never end by itself.
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("powered off after %s, expected the grace time of 100ms", took)
	}
	if _, err := br.ReadByte(); err == nil {
		t.Error("an upgraded connection outlived the power-off")
	}
}

func TestHostileConnectionsAreBounded(t *testing.T) {
	r := start(t, configFile("", ""), platform(), withUpstream(echo))
	r.untilReady()
	conn, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}) //nolint:gosec // as above
	if err == nil {
		_ = conn.Close()
		t.Error("TLS 1.2 was spoken")
	}
	conn, err = tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // as above
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	go func() {
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n", strings.Repeat("x", 1<<20))
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 1 MiB: status %d, expected 431", resp.StatusCode)
	}
}
