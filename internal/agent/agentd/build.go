package agentd

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/casemate-dev/casemate/internal/agent"
	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/internal/daemon"
	"github.com/casemate-dev/casemate/pkg/enclave"
	fakebackend "github.com/casemate-dev/casemate/pkg/enclave/fake"
	"github.com/casemate-dev/casemate/pkg/gpu"
	fakegpu "github.com/casemate-dev/casemate/pkg/gpu/fake"
)

// parts are an agent's parts that must be closed in the end.
type parts struct {
	agent   *agent.Agent
	backend interface{ Close() error }
	judge   interface{ Close() error }
}

func (p *parts) close() error {
	return errors.Join(p.agent.Close(), p.backend.Close(), p.judge.Close())
}

// build makes an agent from a configuration that was checked.
func build(cfg Config, log *slog.Logger) (*parts, error) {
	boot, err := agent.BootID("/")
	if err != nil {
		return nil, err
	}
	total, err := capacity(cfg.Capacity)
	if err != nil {
		return nil, err
	}
	inventory, err := makeInventory(cfg)
	if err != nil {
		return nil, err
	}
	backend, err := makeBackend(cfg, inventory, log)
	if err != nil {
		return nil, err
	}
	judge, judgeEnd, err := makeJudge(cfg)
	if err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	a, err := agent.New(agent.Config{
		Name: cfg.Name, Version: daemon.Version(), StateDir: cfg.StateDir, BootID: boot, ClusterID: cfg.ClusterID,
		Policy: policy(cfg), Capacity: total,
		Reserved: ledger.Capacity{CPUs: cfg.Capacity.ReserveCPUs, MemoryMiB: cfg.Capacity.ReserveMemoryMiB},
		Backend:  backend, Inventory: inventory, SwitchModes: cfg.GPU.SwitchModes,
		Judge: judge, Log: log, Pulse: feedWatchdog(log), Times: times(cfg.Intervals),
	})
	if err != nil {
		return nil, errors.Join(err, backend.Close(), judgeEnd.Close())
	}
	return &parts{a, backend, judgeEnd}, nil
}

func policy(cfg Config) agent.Policy {
	return agent.Policy{
		Profile:        profiles[cfg.Profile],
		AllowSimulated: slices.Contains(cfg.AllowInsecure, allowSimulated),
		AllowDebug:     slices.Contains(cfg.AllowInsecure, allowDebug),
		Simulated:      cfg.Backend.Kind == kindFake,
	}
}

func times(i Intervals) agent.Times {
	return agent.Times{
		Inventory: i.Inventory, Observe: i.Observe, Poll: i.Poll, Call: i.Call, Silent: i.Silent,
		Boot: i.Boot, BootPerGiB: i.BootPerGiB, FailGrace: i.FailGrace, Reattest: i.Reattest,
	}
}

// closableBackend is a backend that this process owns.
type closableBackend interface {
	enclave.Backend
	Close() error
}

func makeBackend(cfg Config, inventory gpu.Inventory, log *slog.Logger) (closableBackend, error) {
	f := cfg.Backend.Fake
	dir := f.Dir
	if dir == "" {
		dir = filepath.Join(cfg.StateDir, "fake")
	}
	b, err := fakebackend.New(fakebackend.Config{
		Dir: dir, GuestPath: f.Guest, ListenHost: f.ListenHost, Faults: f.Faults, Log: log, Machine: machines(cfg, inventory),
	})
	if err != nil {
		return nil, fmt.Errorf("make backend: %w", err)
	}
	return b, nil
}

func makeInventory(cfg Config) (gpu.Inventory, error) {
	if file := cfg.Backend.Fake.HostFile; file != "" {
		i, err := fakegpu.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the host's GPUs: %w", err)
		}
		return i, nil
	}
	i, err := fakegpu.New(fakegpu.Host{})
	if err != nil {
		return nil, fmt.Errorf("make an empty inventory: %w", err)
	}
	return i, nil
}

// capacity asks the machine for what the file leaves open.
func capacity(c Capacity) (ledger.Capacity, error) {
	total := ledger.Capacity{CPUs: c.CPUs, MemoryMiB: c.MemoryMiB}
	if total.CPUs == 0 {
		total.CPUs = runtime.NumCPU()
	}
	if total.MemoryMiB == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return total, fmt.Errorf("ask for the machine's memory: %w", err)
		}
		total.MemoryMiB = int64(info.Totalram) * int64(info.Unit) >> 20 //nolint:gosec // no machine has 2^63 bytes
	}
	return total, nil
}
