package dev

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/git"
)

func TestSamplesAreReleases(t *testing.T) {
	dir := t.TempDir()
	key, err := releaseKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteSamples(dir, key); err != nil {
		t.Fatal(err)
	}
	r, err := git.New(git.Config{LocalPaths: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range samples() {
		for _, tag := range tags {
			rel, warnings, err := r.Release(t.Context(), git.Request{Repository: filepath.Join(dir, name), Tag: tag})
			if err != nil {
				t.Fatalf("%s %s: %v", name, tag, err)
			}
			if len(warnings) > 0 {
				t.Errorf("%s %s warns: %v", name, tag, warnings)
			}
			if rel.Config.GPUs != s.GPUs || len(rel.Config.Containers) != 2 {
				t.Errorf("%s %s has %d GPUs and %d containers", name, tag, rel.Config.GPUs, len(rel.Config.Containers))
			}
			if broken := strings.Contains(string(rel.Config.Raw), "CASEMATE_SIM_FAULT"); broken != (tag == brokenTag) {
				t.Errorf("%s %s: broken = %v", name, tag, broken)
			}
		}
	}
}

func TestASampleMayDeclareASecret(t *testing.T) {
	c, _, err := release.Parse("casemate.yml", []byte(Sample{CPUs: 1, MemoryMiB: 1024, Secret: "API_KEY"}.Config()))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Secrets(); len(got) != 1 || got[0] != "API_KEY" {
		t.Errorf("declares %v, want API_KEY", got)
	}
}

// answer is a server that says a tag, or fails.
type answer struct {
	tag    atomic.Pointer[string]
	broken atomic.Bool
}

func (a *answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if a.broken.Load() {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintf(w, `{"tag":%q}`, *a.tag.Load())
}

func TestLoadCountsWhatClientsSee(t *testing.T) {
	h := &answer{}
	v1, v2 := "v1", "v2"
	h.tag.Store(&v1)
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	srv.StartTLS()
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := StartLoad(t.Context(), Target{Gateway: srv.Listener.Addr().String(), Domain: "x.test", Clients: 2, Timeout: time.Minute})
	defer l.Stop()
	if err := l.AwaitAnswer(ctx); err != nil {
		t.Fatal(err)
	}
	h.tag.Store(&v2)
	for range 3 {
		if err := l.AwaitAnswer(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s := l.Take()
	if s.Sent < 4 || s.Failed != 0 || len(s.Tags) != 2 || s.Tags[0] != "v1" || s.Gap == 0 {
		t.Errorf("saw %+v, want both tags, a gap and no failure", s)
	}
	h.broken.Store(true)
	for s = l.Take(); s.Failed == 0; s = l.Take() {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			t.Fatal("no client saw a failure")
		}
	}
	if !strings.Contains(strings.Join(s.Errors, " "), "503") {
		t.Errorf("saw %+v, want failures with the status", s)
	}
}

func TestAGatewayIsAwaitedUntilItFollowsACoordinator(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cluster := ""
		if asked.Add(1) > 2 {
			cluster = "c1"
		}
		fmt.Fprintf(w, `{"cluster_id":%q}`, cluster)
	}))
	defer srv.Close()
	if err := awaitGateway(t.Context(), srv.Listener.Addr().String(), nil); err != nil || asked.Load() != 3 {
		t.Errorf("after %d looks: %v", asked.Load(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := awaitGateway(ctx, srv.Listener.Addr().String(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
}

func TestAFleetWithoutBinariesSaysHowToBuildThem(t *testing.T) {
	_, err := Start(t.Context(), Options{Dir: filepath.Join(t.TempDir(), "f"), Bin: t.TempDir(), Hosts: []string{"none"}})
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v, want the way to build them", err)
	}
}

func TestAProcessIsStoppedAndKilled(t *testing.T) {
	p, err := startProcess(t.TempDir(), "sleeper", "/bin/sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	select {
	case <-p.Done():
	default:
		t.Error("it still runs after Stop")
	}
	if err := errors.Join(p.Stop(t.Context()), p.Kill()); err != nil {
		t.Errorf("a process that has ended can be stopped again: %v", err)
	}
}
