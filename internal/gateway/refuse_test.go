package gateway

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// wantAlert connects with crypto/tls and expects the alert.
func wantAlert(t *testing.T, g *gate, name string, want alert) {
	t.Helper()
	_, err := g.connect(name)
	var got tls.AlertError
	if !errors.As(err, &got) || alert(got) != want {
		var op *net.OpError
		if errors.As(err, &op) && strings.Contains(op.Error(), tls.AlertError(want).Error()[len("tls: "):]) {
			return
		}
		t.Errorf("connecting to %q gave %v, want alert %d", name, err, want)
	}
}

// answerTo sends bytes and returns everything that comes back.
func answerTo(t *testing.T, g *gate, raw []byte) []byte {
	t.Helper()
	c := g.dialRaw(t)
	if _, err := c.Write(raw); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("the answer was cut off: %v", err)
	}
	return out
}

func TestRefusedHelloGetsItsAlertAndIsCounted(t *testing.T) {
	g := serve(t, Config{Routes: newRoutes(t, aRoute(1))})
	named := func(n string) []byte { return records(helloSpec{names: []string{n}}.build(), maxPlaintext) }
	for _, c := range []struct {
		rule, reason string
		raw          []byte
		want         alert
	}{
		{"HTTP", "not_tls", []byte("GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n"), alertDecodeError},
		{"random bytes", "not_tls", bytes.Repeat([]byte{0xfe, 0x17}, 2000), alertDecodeError},
		{"more than 64 KiB", "too_long", records(helloSpec{names: []string{testDomain}, before: 65_000}.build(), 500), alertDecodeError},
		{"a broken hello", "malformed", records(helloSpec{names: []string{"a.org", "b.org"}}.build(), 100), alertDecodeError},
		{"no name", "no_name", records(helloSpec{}.build(), 100), alertMissingExtension},
		{"an IP address as the name", "bad_name", named("192.0.2.1"), alertUnrecognizedName},
		{"a name with a null byte", "bad_name", named("api.example.org\x00"), alertUnrecognizedName},
	} {
		before := g.helloFailures(c.reason)
		if got := answerTo(t, g, c.raw); !bytes.Equal(got, c.want.record()) {
			t.Errorf("%s: answered %x, want %x", c.rule, got, c.want.record())
		}
		eventually(t, c.rule+" is counted", func() bool { return g.helloFailures(c.reason) == before+1 })
	}
}

func TestUnknownAndClosedRoutesAreRefused(t *testing.T) {
	closed := aRoute(1)
	closed.Domain, closed.State = "closed.example.org", Closed
	g := serve(t, Config{Routes: newRoutes(t, aRoute(1), closed)})
	wantAlert(t, g, "unknown.example.org", alertUnrecognizedName)
	wantAlert(t, g, "closed.example.org", alertInternalError)
	eventually(t, "both are counted", func() bool { return g.ends(outcomeNoRoute) == 1 && g.ends(outcomeClosedRoute) == 1 })
}

func TestHelloInPiecesAndLargeHelloPass(t *testing.T) {
	_, client, server := rawPair(t)
	client.Close()
	server.Close()
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1))})
	cfg := clientTLS(testDomain)
	cfg.NextProtos = strings.Split(strings.Repeat("some-protocol,", 3500)+"h2", ",")
	for _, piece := range []int{1, 700, 1 << 20} {
		client := tls.Client(&choppedConn{Conn: g.dialRaw(t), piece: piece}, cfg)
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Errorf("a hello of 50 KiB in pieces of %d: %v", piece, err)
		}
		client.Close()
	}
}

// choppedConn sends each write in small pieces, up to a number of them.
type choppedConn struct {
	net.Conn
	piece int
}

func (c *choppedConn) Write(p []byte) (int, error) {
	sent := 0
	for i := 0; len(p) > c.piece && i < 200; i++ {
		n, err := c.Conn.Write(p[:c.piece])
		sent += n
		if err != nil {
			return sent, err
		}
		p = p[n:]
	}
	n, err := c.Conn.Write(p)
	return sent + n, err
}

func TestSlowHelloIsCutOffAtTheDeadline(t *testing.T) {
	g := serve(t, Config{Routes: newRoutes(t, aRoute(1)), HelloTimeout: 100 * time.Millisecond})
	hello := helloFor(t, testDomain)
	silent, trickling, half := g.dialRaw(t), g.dialRaw(t), g.dialRaw(t)
	if _, err := half.Write(hello[:len(hello)/2]); err != nil {
		t.Fatal(err)
	}
	var trickle sync.WaitGroup
	trickle.Go(func() { // a byte every few milliseconds never stretches the time
		for _, b := range hello {
			if _, err := trickling.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(3 * time.Millisecond)
		}
		t.Error("a hello of several seconds was read to its end")
	})
	start := time.Now()
	for _, c := range []net.Conn{silent, half, trickling} {
		if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("a slow client saw %v, want its end", err)
		}
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("slow clients were kept for %s", took)
	}
	trickle.Wait()
	eventually(t, "all are counted", func() bool { return g.helloFailures("timeout") == 3 })
}

func TestClientThatLeavesBeforeItsHelloIsForgotten(t *testing.T) {
	g := serve(t, Config{Routes: newRoutes(t, aRoute(1))})
	reset, ended := g.dialRaw(t), g.dialRaw(t)
	if err := reset.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	reset.Close()
	if err := ended.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are counted", func() bool { return g.helloFailures("client_gone") == 2 })
	eventually(t, "no place is taken", func() bool { return g.limit.total.Load() == 0 })
}
