package dev

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// pause is the time between two requests of one client.
const pause = 5 * time.Millisecond

// Load is a set of clients that ask one domain again and again through a
// gateway: half of them over kept connections, half with a new one each time.
type Load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	stats Stats
	last  time.Time
	seen  map[string]bool
	// answered is closed, and made anew, with every good answer.
	answered chan struct{}
}

// Stats are what clients saw.
type Stats struct {
	Sent, Failed int
	// Gap is the longest time between two good answers, over all clients.
	Gap time.Duration
	// Tags are the tags that answered, in the order of their first answer.
	Tags []string
	// Errors has the first few failures, in words.
	Errors []string
}

// Target is what a load asks.
type Target struct {
	Gateway, Domain string
	Clients         int
	// Timeout bounds one request; in a replace it must be longer than the hold.
	Timeout time.Duration
	// Dial connects to an IP and port; nil from this process's own network.
	Dial Dial
}

// StartLoad starts the clients; Stop ends them.
func StartLoad(ctx context.Context, t Target) *Load {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{cancel: cancel, seen: map[string]bool{}, last: time.Now(), answered: make(chan struct{})}
	for n := range t.Clients {
		client := newClient(t, n%2 == 0)
		l.done.Go(func() {
			defer client.CloseIdleConnections()
			l.ask(ctx, client, t)
		})
	}
	return l
}

// newClient returns a client that dials the gateway whatever the URL says. The
// sample enclaves' certificates are their own; what answers is told by what it
// says.
func newClient(t Target, keep bool) *http.Client {
	from := t.Dial
	if from == nil {
		var d net.Dialer
		from = d.DialContext
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) { return from(ctx, network, t.Gateway) }
	return &http.Client{Timeout: t.Timeout, Transport: &http.Transport{
		DialContext:       dial,
		DisableKeepAlives: !keep,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: t.Domain, MinVersion: tls.VersionTLS13}, //nolint:gosec // see above
	}}
}

func (l *Load) ask(ctx context.Context, client *http.Client, t Target) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tag, err := Ask(ctx, client, t.Domain)
		if ctx.Err() != nil {
			return
		}
		l.count(tag, err)
	}
}

// Ask sends one request and returns the tag that answered.
func Ask(ctx context.Context, client *http.Client, domain string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+domain+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s: %.200s", resp.Status, body)
	}
	var answer struct {
		Tag string `json:"tag"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Tag == "" {
		return "", fmt.Errorf("the answer names no tag: %.200s", body)
	}
	return answer.Tag, nil
}

// keptErrors is how many failures are kept in words.
const keptErrors = 5

func (l *Load) count(tag string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Sent++
	now := time.Now()
	if err != nil {
		l.stats.Failed++
		if len(l.stats.Errors) < keptErrors {
			l.stats.Errors = append(l.stats.Errors, err.Error())
		}
		return
	}
	l.stats.Gap = max(l.stats.Gap, now.Sub(l.last))
	l.last = now
	close(l.answered)
	l.answered = make(chan struct{})
	if !l.seen[tag] {
		l.seen[tag] = true
		l.stats.Tags = append(l.stats.Tags, tag)
	}
}

// AwaitAnswer waits for the next good answer, so that a gap that is still open
// is counted whole.
func (l *Load) AwaitAnswer(ctx context.Context) error {
	l.mu.Lock()
	answered := l.answered
	l.mu.Unlock()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no client got an answer any more: %w", ctx.Err())
	}
}

// Take returns what was seen since the last Take.
func (l *Load) Take() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	l.stats, l.seen = Stats{}, map[string]bool{}
	l.last = time.Now()
	return s
}

// Stop ends the clients and waits for them.
func (l *Load) Stop() {
	l.cancel()
	l.done.Wait()
}
