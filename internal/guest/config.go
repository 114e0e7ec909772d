package guest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/release"
)

// Defaults of Config.
const (
	// DefaultGrace is how long requests in flight may take after a power-off.
	DefaultGrace = 30 * time.Second
	// DefaultSilence is how long a connection that was made before a power-off may
	// take to its first request: some round trips of a handshake.
	DefaultSilence = 2 * time.Second
	// DefaultMaxConnections bounds open connections.
	DefaultMaxConnections = 4096
)

// Config is what a guest is made of.
type Config struct {
	// ConfigName and ConfigFile are the config file as it came from the host.
	ConfigName string
	ConfigFile []byte
	// ConfigDigest is SHA-256 of the config file as it was measured.
	ConfigDigest [32]byte
	// Platform is the platform part as it came from the host.
	Platform *agentv1.Platform
	// GPUs is how many GPUs the machine was launched with.
	GPUs int
	// Listener is where TLS is spoken; Run closes it.
	Listener net.Listener
	// Simulated says that the evidence's hardware is none.
	Simulated bool
	// Evidence gives the hardware's reports.
	Evidence EvidenceSource
	// Runtime runs the OCI containers.
	Runtime Runtime
	// GPUCount counts the GPUs that are there and fit for use.
	GPUCount func(ctx context.Context) (int, error)
	// Clock is the real one if nil.
	Clock Clock
	// Log takes one line per event that matters; nil discards.
	Log *slog.Logger
	// Grace bounds draining; 0 means DefaultGrace.
	Grace time.Duration
	// Silence is how long after a power-off connections may be without any request;
	// 0 means DefaultSilence.
	Silence time.Duration
	// MaxConnections bounds open connections; 0 means DefaultMaxConnections.
	MaxConnections int
}

// EvidenceSource is the hardware that states what runs. Its methods may be
// called at the same time.
type EvidenceSource interface {
	// Format is the kind of its reports.
	Format() attest.Format
	// HostData is the digest of the platform part that was set at launch, as the
	// hardware reports it.
	HostData(ctx context.Context) ([32]byte, error)
	// Devices returns one document per GPU and switch over the nonce.
	Devices(ctx context.Context, nonce [32]byte) ([][]byte, error)
	// Report returns a report over the data, and the certificates that came with it.
	Report(ctx context.Context, reportData [64]byte) (report []byte, certificates [][]byte, err error)
}

// Runtime runs OCI containers.
type Runtime interface {
	// Pull fetches and verifies the images of all containers. The secrets are
	// those that registries ask for, by name.
	Pull(ctx context.Context, containers []release.Container, secrets map[string][]byte) error
	// Start starts a container; it is called once for each, in the config's order.
	// The container lives on after ctx.
	Start(ctx context.Context, c release.Container, in Input) (Workload, error)
}

// Input is what a container is given besides its entry in the config.
type Input struct {
	// Env is its environment by name, measured and open values, no secrets.
	Env map[string]string
	// Secrets are those that its entry names.
	Secrets map[string][]byte
}

// Workload is a container that was started.
type Workload interface {
	// Dial connects to a TCP port of the container.
	Dial(ctx context.Context, port uint16) (net.Conn, error)
	// Probe runs one health test inside the container and returns why it fails.
	Probe(ctx context.Context, test []string) error
	// Stop sends the stop signal, kills after the container's stop timeout, and
	// returns once it is gone, or with the error of ctx.
	Stop(ctx context.Context) error
	// Done is closed when the container has ended and its restart policy permits
	// no other start. Err then says why.
	Done() <-chan struct{}
	Err() error
}

// Clock tells and passes time.
type Clock interface {
	// Now is the current time.
	Now() time.Time
	// Sleep returns nil after d, or earlier with the error of ctx.
	Sleep(ctx context.Context, d time.Duration) error
}

// RealClock is the machine's clock.
type RealClock struct{}

// Now implements Clock.
func (RealClock) Now() time.Time { return time.Now() }

// Sleep implements Clock.
func (RealClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Config) fill() error {
	switch {
	case c.Listener == nil:
		return errors.New("guest: a listener is needed")
	case c.Evidence == nil || c.Runtime == nil || c.GPUCount == nil:
		return errors.New("guest: evidence, runtime and GPU count are needed")
	case c.Platform == nil:
		return errors.New("guest: the platform part is missing")
	case len(c.Platform.GetSecretsKey()) != ed25519.PublicKeySize:
		return fmt.Errorf("guest: the platform's secrets key has %d bytes, expected %d",
			len(c.Platform.GetSecretsKey()), ed25519.PublicKeySize)
	}
	if c.Clock == nil {
		c.Clock = RealClock{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	if c.Silence == 0 {
		c.Silence = DefaultSilence
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	return nil
}
