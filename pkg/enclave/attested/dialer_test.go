package attested_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/enclave/attested"
)

func hexOf(d [32]byte) string { return hex.EncodeToString(d[:]) }

// clock is a clock that tests turn.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func dialerOf(t *testing.T, g *guest, c *clock) *attested.Dialer {
	t.Helper()
	d, err := attested.NewDialer(attested.DialerConfig{Client: clientOf(t, g, nil), Interval: time.Minute, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// hello says one request over a connection of the dialer.
func hello(t *testing.T, d *attested.Dialer) (err error) {
	t.Helper()
	conn, err := d.Dial(t.Context())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != "hello" {
		t.Errorf("the enclave says %q", body)
	}
	return err
}

func wantCounts(t *testing.T, g *guest, when string, asked, served int) {
	t.Helper()
	if a, s := g.counts(); a != asked || s != served {
		t.Errorf("%s: evidence was asked for %d times and %d requests passed, want %d and %d", when, a, s, asked, served)
	}
}

func TestOneVerdictServesConnectionsForAnInterval(t *testing.T) {
	g, c := launch(t, newIdentity(t, domain)), &clock{at: time.Now()}
	d := dialerOf(t, g, c)
	for range 3 {
		if err := hello(t, d); err != nil {
			t.Fatal(err)
		}
	}
	wantCounts(t, g, "within the interval", 1, 3)
	c.pass(time.Minute)
	if err := hello(t, d); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, g, "after it", 2, 4)
}

func TestANewKeyIsAttestedBeforeAnythingPasses(t *testing.T) {
	g, c := launch(t, newIdentity(t, domain)), &clock{at: time.Now()}
	d := dialerOf(t, g, c)
	if err := hello(t, d); err != nil {
		t.Fatal(err)
	}
	first := g.id
	g.change(func(g *guest) { g.id = newIdentity(t, domain) })
	if err := hello(t, d); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, g, "with the enclave's successor", 2, 2)
	g.change(func(g *guest) { g.id = first })
	if err := hello(t, d); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, g, "with the one before, which still counts", 2, 3)
}

func TestNothingPassesToAKeyThatIsRefused(t *testing.T) {
	g, c := launch(t, newIdentity(t, domain)), &clock{at: time.Now()}
	d := dialerOf(t, g, c)
	if err := hello(t, d); err != nil {
		t.Fatal(err)
	}
	enclave := g.id
	other := launch(t, newIdentity(t, domain))
	g.change(func(g *guest) { g.id = newIdentity(t, domain) })
	g.relay(other)
	for range 2 {
		err := hello(t, d)
		var refused *attest.RefusedError
		if !errors.As(err, &refused) {
			t.Fatalf("the error is %v, want a refusal", err)
		}
	}
	wantCounts(t, g, "with a man in the middle", 3, 1)
	g.change(func(g *guest) { g.id, g.raw = enclave, nil })
	if err := hello(t, d); err != nil {
		t.Errorf("when he has gone: %v", err)
	}
}

func TestAVerdictThatTurnsBadTakesTheKeyAway(t *testing.T) {
	g, c := launch(t, newIdentity(t, domain)), &clock{at: time.Now()}
	d := dialerOf(t, g, c)
	if err := hello(t, d); err != nil {
		t.Fatal(err)
	}
	g.change(func(g *guest) { g.measurement[0] ^= 1 })
	if err := d.Verify(t.Context()); err == nil {
		t.Fatal("another measurement was accepted")
	}
	if err := hello(t, d); err == nil {
		t.Error("a connection was made with a key that was refused since")
	}
	wantCounts(t, g, "after the refusal", 3, 1)
}

func TestAKeyThatChangesWithEveryConnectionGetsNowhere(t *testing.T) {
	g := launch(t, newIdentity(t, domain))
	d, err := attested.NewDialer(attested.DialerConfig{Client: clientOf(t, g, nil), Told: func(*attested.Proof) {
		g.change(func(g *guest) { g.id = newIdentity(t, domain) })
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := hello(t, d); !errors.Is(err, attested.ErrKeyUnsteady) {
		t.Errorf("the error is %v, want %v", err, attested.ErrKeyUnsteady)
	}
	if _, served := g.counts(); served > 0 {
		t.Error("bytes passed to a key without a verdict")
	}
}

func TestConnectionsAtOnceShareAVerdict(t *testing.T) {
	g, c := launch(t, newIdentity(t, domain)), &clock{at: time.Now()}
	d := dialerOf(t, g, c)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := hello(t, d); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if asked, served := g.counts(); served != 8 || asked > 8 {
		t.Errorf("evidence was asked for %d times for %d connections", asked, served)
	}
}

func TestADialThatIsGivenUpEnds(t *testing.T) {
	g, c := launch(t, newIdentity(t, domain)), &clock{at: time.Now()}
	asked, gone := make(chan struct{}), make(chan struct{})
	g.change(func(g *guest) {
		g.raw = func(a []byte) []byte {
			close(asked)
			<-gone
			return a
		}
	})
	d := dialerOf(t, g, c)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := d.Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want that it was given up", err)
	}
	close(gone)
	g.change(func(g *guest) { g.raw = nil })
	if err := hello(t, d); err != nil {
		t.Errorf("whoever comes next: %v", err)
	}
}

func TestAnAnswerThatIsCutShortIsNoEnd(t *testing.T) {
	g, c := launch(t, newIdentity(t, domain)), &clock{at: time.Now()}
	g.change(func(g *guest) { g.cut = true })
	if err := hello(t, dialerOf(t, g, c)); !errors.Is(err, attested.ErrCutShort) {
		t.Errorf("an end without close_notify: %v, want %v", err, attested.ErrCutShort)
	}
}

func TestDialersThatMakeNoSenseAreRefused(t *testing.T) {
	if _, err := attested.NewDialer(attested.DialerConfig{}); err == nil {
		t.Error("one without a client was taken")
	}
}
