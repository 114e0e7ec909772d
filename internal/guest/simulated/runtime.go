package simulated

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/faults"
	"github.com/casemate-dev/casemate/pkg/release"
)

// runtime runs containers as HTTP servers of this process, on loopback.
type runtime struct {
	id     string
	spec   *agentv1.EnclaveSpec
	faults faults.Faults
	clock  guest.Clock
}

// Pull implements guest.Runtime: the images are in this process.
func (r *runtime) Pull(ctx context.Context, _ []release.Container, _ map[string][]byte) error {
	return ctx.Err()
}

// Start implements guest.Runtime.
func (r *runtime) Start(_ context.Context, c release.Container, in guest.Input) (guest.Workload, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for container %s: %w", c.Name, err)
	}
	w := &workload{
		faults: r.faults, clock: r.clock, started: r.clock.Now(), address: listener.Addr().String(),
		done: make(chan struct{}),
	}
	w.server = &http.Server{Handler: newApp(r, c, in, w.healthy), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(w.done)
		if err := w.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			w.failure = err
		}
	}()
	return w, nil
}

// workload is one simulated container.
type workload struct {
	faults  faults.Faults
	clock   guest.Clock
	started time.Time
	address string
	server  *http.Server
	done    chan struct{}
	failure error // before done is closed

	stop sync.Once
}

// Dial implements guest.Workload. Whatever port the config names, the container
// listens on the one that was free.
func (w *workload) Dial(ctx context.Context, _ uint16) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", w.address)
}

// Probe implements guest.Workload: it asks the container over HTTP, whatever the
// config's test runs.
func (w *workload) Probe(ctx context.Context, _ []string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+healthPath, nil)
	if err != nil {
		return fmt.Errorf("make the health request: %w", err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask for its health: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("its health endpoint answers %d", resp.StatusCode)
	}
	return nil
}

// healthy says why the container is not healthy at this moment.
func (w *workload) healthy() error {
	age := w.clock.Now().Sub(w.started)
	switch {
	case age < w.faults.LoadTime:
		return fmt.Errorf("loading, %s left", (w.faults.LoadTime - age).Round(time.Millisecond))
	case w.faults.Kind == faults.NeverHealthy:
		return errors.New("it is never healthy")
	case w.faults.Kind == faults.UnhealthyAfter && age >= w.faults.LoadTime+w.faults.After:
		return errors.New("it has become unhealthy")
	}
	return nil
}

// Stop implements guest.Workload.
func (w *workload) Stop(ctx context.Context) error {
	var slow error
	if w.faults.Kind == faults.SlowStop {
		slow = w.clock.Sleep(ctx, w.faults.After)
	}
	w.stop.Do(func() { slow = errors.Join(slow, w.server.Close()) })
	<-w.done
	return slow
}

// Done implements guest.Workload.
func (w *workload) Done() <-chan struct{} { return w.done }

// Err implements guest.Workload.
func (w *workload) Err() error { return w.failure }
