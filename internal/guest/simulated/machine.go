package simulated

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/faults"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
	"github.com/casemate-dev/casemate/pkg/release"
)

// ErrDied says that the machine died, as its fault asked for.
var ErrDied = errors.New("the machine died")

// Options say how a simulated machine runs.
type Options struct {
	// Dir is the enclave's folder; see package guestdir.
	Dir string
	// PowerOff is closed when the power button is pressed.
	PowerOff <-chan struct{}
	// OwnProcess is set where this machine is all that the process does: what it
	// writes to standard output and error goes to the console too.
	OwnProcess bool
	// Grace bounds draining; 0 means guest.DefaultGrace.
	Grace time.Duration
	// Clock is the real one if nil.
	Clock guest.Clock
}

// machine is one life of a simulated enclave.
type machine struct {
	opts   Options
	dir    guestdir.Dir
	record guestdir.Record
	spec   *agentv1.EnclaveSpec
	faults faults.Faults
	log    *slog.Logger
}

// Run boots the enclave of a folder and returns when it has powered off. The end
// of ctx is a power cut. How it ended is recorded in the folder unless it died.
func Run(ctx context.Context, opts Options) (err error) {
	if opts.Clock == nil {
		opts.Clock = guest.RealClock{}
	}
	dir := guestdir.Dir(opts.Dir)
	out, err := openConsole(dir, maxConsole, opts.OwnProcess)
	if err != nil {
		return fmt.Errorf("simulated machine: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	m := &machine{opts: opts, dir: dir, log: slog.New(slog.NewTextHandler(out, nil))}
	exit, err := m.live(ctx)
	if err != nil {
		m.log.Error("machine ended", "error", err)
		return err
	}
	exit.Time = opts.Clock.Now()
	m.log.Info("machine ended", "reason", exit.Reason)
	return dir.WriteExit(exit)
}

// live returns how the machine ended, or an error if it died.
func (m *machine) live(ctx context.Context) (enclave.Exit, error) {
	var err error
	if m.record, m.spec, err = m.dir.ReadRecord(); err != nil {
		return failed("the enclave's folder can't be read: %v", err), nil
	}
	cfg, _, err := release.Parse(m.spec.GetConfigName(), m.spec.GetConfig())
	if err != nil {
		cfg = &release.Config{} // the guest's config stage will say so
	}
	if m.faults, err = faults.Of(cfg, m.record.Settings); err != nil {
		return failed("the simulation's settings can't be read: %v", err), nil
	}
	m.log.Info("machine boots", "enclave", m.record.ID, "container", m.spec.GetContainer(), "revision", m.spec.GetRevision())
	if pressed, err := m.bootTime(ctx); err != nil || pressed {
		return enclave.Exit{Reason: enclave.ReasonPoweredOff, Text: "powered off while it booted"}, err
	}
	if m.faults.Kind == faults.BootFails {
		return failed("the kernel panicked: no root disk (simulated)"), nil
	}
	return m.listen(ctx)
}

func failed(format string, args ...any) enclave.Exit {
	return enclave.Exit{Reason: enclave.ReasonBootFailed, Text: fmt.Sprintf(format, args...)}
}

// bootTime lets the boot time pass and says whether the power button was pressed
// meanwhile.
func (m *machine) bootTime(ctx context.Context) (pressed bool, err error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	passed := make(chan error, 1)
	go func() { passed <- m.opts.Clock.Sleep(waiting, m.faults.BootTime) }()
	select {
	case err = <-passed:
		return false, err
	case <-m.powerOff():
		cancel()
		<-passed //nolint:errcheck // it was cancelled
		return true, ctx.Err()
	}
}

// powerOff is the power button as this machine feels it.
func (m *machine) powerOff() <-chan struct{} {
	if m.faults.Kind == faults.StopHangs || m.faults.Kind == faults.Hangs {
		return nil
	}
	return m.opts.PowerOff
}

func (m *machine) listen(ctx context.Context) (enclave.Exit, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(m.record.ListenHost, "0"))
	if err != nil {
		return failed("the guest can't listen: %v", err), nil
	}
	if err := m.dir.WriteEndpoint(listener.Addr().String()); err != nil {
		return failed("the endpoint can't be written: %v", err), errors.Join(listener.Close())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var dying sync.WaitGroup
	defer dying.Wait()
	defer cancel(nil)
	if m.faults.Kind == faults.DiesAfter {
		dying.Go(func() {
			if m.opts.Clock.Sleep(ctx, m.faults.After) == nil {
				cancel(ErrDied)
			}
		})
	}
	err = m.serve(ctx, listener)
	if ctx.Err() != nil {
		return enclave.Exit{}, context.Cause(ctx)
	}
	exit := enclave.Exit{Reason: enclave.ReasonPoweredOff, Text: "the guest powered off"}
	if err != nil {
		exit.Text = fmt.Sprintf("the guest powered off: %v", err)
	}
	return exit, nil
}

// serve runs what speaks on the listener: the guest, somebody in between and the
// guest, or nobody.
func (m *machine) serve(ctx context.Context, listener net.Listener) error {
	switch m.faults.Kind {
	case faults.Hangs:
		return hang(ctx, listener)
	case faults.AttestationForeignKey, faults.Wiretapped:
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return errors.Join(fmt.Errorf("listen behind the middle: %w", err), listener.Close())
		}
		man, err := newMiddle(m.dir, inner.Addr().String(), m.faults.Kind == faults.AttestationForeignKey)
		if err != nil {
			return errors.Join(err, inner.Close(), listener.Close())
		}
		between, stop := context.WithCancel(ctx)
		var joined sync.WaitGroup
		joined.Go(func() {
			if err := man.run(between, listener); err != nil {
				m.log.Error("the middle ended", "error", err)
			}
		})
		defer joined.Wait()
		defer stop()
		return m.runGuest(ctx, inner)
	default:
		return m.runGuest(ctx, listener)
	}
}

func (m *machine) runGuest(ctx context.Context, listener net.Listener) error {
	clock := m.opts.Clock
	hardware, err := m.hardware(clock.Now)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	g, err := guest.New(guest.Config{
		ConfigName: m.spec.GetConfigName(), ConfigFile: m.spec.GetConfig(),
		ConfigDigest: simulated.ShapeOf(m.spec).ConfigDigest,
		Platform:     m.spec.GetPlatform(), GPUs: int(m.spec.GetGpus()), Listener: listener,
		Evidence: hardware, Simulated: true,
		Runtime:  &runtime{id: m.record.ID, spec: m.spec, faults: m.faults, clock: clock},
		GPUCount: func(context.Context) (int, error) { return len(m.record.GPUs), nil },
		Clock:    clock, Log: m.log, Grace: m.opts.Grace,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	return g.Run(ctx, m.powerOff())
}

// hang accepts connections and never answers.
func hang(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	const most = 1024
	held := make([]net.Conn, 0, most)
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	for {
		c, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("hang: %w", err)
		}
		if len(held) == most {
			_ = held[0].Close()
			held = append(held[:0], held[1:]...)
		}
		held = append(held, c)
	}
}
