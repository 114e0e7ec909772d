package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return lis
}

// get returns the status and the body of what an address serves.
func get(t *testing.T, address, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAdminServesMetricsUntilItsContextEnds(t *testing.T) {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "casemate_test_total", Help: "One."})
	counter.Inc()
	registry := prometheus.NewRegistry()
	registry.MustRegister(counter)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	lis := listen(t)
	address := lis.Addr().String()
	serveAdmin(ctx, g, lis, MetricsHandler(registry))
	if status, body := get(t, address, "/metrics"); status != http.StatusOK || !strings.Contains(body, "casemate_test_total 1") {
		t.Errorf("/metrics answers %d: %s", status, body)
	}
	if status, _ := get(t, address, "/"); status != http.StatusNotFound {
		t.Errorf("/ answers %d, want that nothing is there", status)
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Errorf("serving ends with %v", err)
	}
	if _, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is left with %v, want it closed", err)
	}
}

func TestAdminSaysWhereItCantListen(t *testing.T) {
	lis := listen(t)
	g, ctx := errgroup.WithContext(t.Context())
	err := ServeAdmin(ctx, g, lis.Addr().String(), http.NotFoundHandler())
	if err == nil || !strings.Contains(err.Error(), lis.Addr().String()) {
		t.Errorf("listening on a port that is taken gives %v, want an error that names it", err)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if err := lis.Close(); err != nil {
		t.Error(err)
	}
}
