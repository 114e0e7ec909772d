package guest_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/enclave/guestclient"
	"github.com/casemate-dev/casemate/pkg/release"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what tests wait for; nothing takes nearly as long.
const patience = 2 * time.Minute

const digest = "@sha256:1111111111111111111111111111111111111111111111111111111111111111"

// configFile returns a config with one container and these lines added to the
// container and to the shim.
func configFile(container, shim string) string {
	return "cvm-version: 0.14.12\ncpus: 2\nmemory: 2048\ncontainers:\n" +
		"  - name: app\n    image: ghcr.io/o/app" + digest + "\n" + indent(container, 4) +
		"shim:\n  upstream-port: 8080\n" + indent(shim, 2)
}

func indent(lines string, n int) string {
	if lines == "" {
		return ""
	}
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(lines, "\n", "\n"+pad) + "\n"
}

var secretsKey = ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", 32)))

func platform(secrets ...string) *agentv1.Platform {
	return &agentv1.Platform{
		ClusterId: "c", Domain: "app.example", Secrets: secrets,
		SecretsKey: secretsKey.Public().(ed25519.PublicKey),
	}
}

// machine is the hardware and the containers of a test.
type machine struct {
	hostData [32]byte
	gpus     int
	pullErr  error
	startErr error
	handler  http.Handler

	mu       sync.Mutex
	probeErr error
	inputs   map[string]guest.Input
	log      []string
	running  []*workload
}

func (m *machine) Format() attest.Format                               { return attest.FormatSimulated }
func (m *machine) HostData(context.Context) ([32]byte, error)          { return m.hostData, nil }
func (m *machine) Devices(context.Context, [32]byte) ([][]byte, error) { return nil, nil }
func (m *machine) count(context.Context) (int, error)                  { return m.gpus, nil }
func (m *machine) Report(_ context.Context, d [64]byte) ([]byte, [][]byte, error) {
	return d[:], nil, nil
}

func (m *machine) Pull(context.Context, []release.Container, map[string][]byte) error {
	return m.pullErr
}

func (m *machine) Start(_ context.Context, c release.Container, in guest.Input) (guest.Workload, error) {
	if m.startErr != nil {
		return nil, m.startErr
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inputs[c.Name] = in
	w := &workload{machine: m, name: c.Name, server: httptest.NewServer(m.handler), done: make(chan struct{})}
	m.log = append(m.log, "start "+c.Name)
	m.running = append(m.running, w)
	return w, nil
}

func (m *machine) setHealth(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.probeErr = err
}

func (m *machine) events() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.log, ", ")
}

type workload struct {
	machine *machine
	name    string
	server  *httptest.Server
	done    chan struct{}
	err     error
}

func (w *workload) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	if port != 8080 {
		return nil, fmt.Errorf("dialled port %d, the config says 8080", port)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", w.server.Listener.Addr().String())
}

func (w *workload) Probe(context.Context, []string) error {
	w.machine.mu.Lock()
	defer w.machine.mu.Unlock()
	return w.machine.probeErr
}

func (w *workload) Stop(context.Context) error {
	w.server.CloseClientConnections()
	w.server.Close()
	w.machine.mu.Lock()
	defer w.machine.mu.Unlock()
	w.machine.log = append(w.machine.log, "stop "+w.name)
	return nil
}

func (w *workload) Done() <-chan struct{} { return w.done }
func (w *workload) Err() error            { return w.err }

// running is a guest under test.
type running struct {
	*machine
	addr     string
	client   *guestclient.Client
	web      *http.Client
	guest    *guest.Guest
	powerOff chan struct{}
	cut      context.CancelFunc
	result   chan error
	stopOnce sync.Once
	t        *testing.T
}

// start runs a guest with this config and platform; change may alter its parts.
func start(t *testing.T, file string, p *agentv1.Platform, change func(*guest.Config, *machine)) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{hostData: evidence.PlatformDigest(p), inputs: map[string]guest.Input{}, handler: http.NotFoundHandler()}
	cfg := guest.Config{
		ConfigName: "casemate.yml", ConfigFile: []byte(file), ConfigDigest: sha256.Sum256([]byte(file)),
		Platform: p, Listener: listener, Evidence: m, Runtime: m, GPUCount: m.count, Grace: patience,
	}
	if change != nil {
		change(&cfg, m)
	}
	g, err := guest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{
		machine: m, addr: listener.Addr().String(), guest: g, t: t,
		powerOff: make(chan struct{}), result: make(chan error, 1), web: webClient(listener.Addr().String()),
	}
	if r.client, err = guestclient.New(guestclient.Config{Endpoint: r.addr, ServerName: p.GetDomain()}); err != nil {
		t.Fatal(err)
	}
	ctx, cut := context.WithCancel(context.Background())
	r.cut = cut
	go func() { r.result <- g.Run(ctx, r.powerOff) }()
	t.Cleanup(func() {
		r.client.Close()
		r.web.CloseIdleConnections()
		_ = r.stop()
		cut()
	})
	return r
}

// stop presses the power button and returns what Run returned.
func (r *running) stop() error {
	r.stopOnce.Do(func() { close(r.powerOff) })
	select {
	case err := <-r.result:
		r.result <- err
		return err
	case <-time.After(2 * patience):
		return errors.New("the guest did not power off")
	}
}

// until waits for a boot status that fits, by long poll.
func (r *running) until(what string, fits func(*guestapi.BootStatus) bool) *guestapi.BootStatus {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	var after uint64
	for {
		status, err := r.client.Boot(ctx, after, guestapi.MaxWait)
		if err != nil {
			r.t.Fatalf("waiting for %s: %v", what, err)
		}
		if fits(status) {
			return status
		}
		after = status.Version
	}
}

func (r *running) untilReady() *guestapi.BootStatus {
	r.t.Helper()
	return r.until("ready", func(b *guestapi.BootStatus) bool { return b.Ready })
}

func (r *running) untilFailed() guestapi.Stage {
	r.t.Helper()
	var failed guestapi.Stage
	r.until("a failed stage", func(b *guestapi.BootStatus) (ok bool) { failed, ok = b.Failed(); return ok })
	return failed
}

func (r *running) untilRunning(stage string) {
	r.t.Helper()
	r.until(stage+" running", func(b *guestapi.BootStatus) bool {
		s, _ := b.Stage(stage)
		return s.Status == guestapi.StatusRunning && s.Reason != ""
	})
}

// handshake reads a server's answer to an upgrade.
func handshake(conn net.Conn) (*bufio.Reader, error) {
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("status %d, expected 101", resp.StatusCode)
	}
	return br, nil
}
