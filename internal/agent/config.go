package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/pkg/atomicfile"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/enclave/guestclient"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Config is what an agent is made of. Name, StateDir, BootID, Backend, Inventory
// and Policy.Profile are required; the zero value of the others is a default.
type Config struct {
	// Name is the host's name.
	Name string
	// Version is the agent's.
	Version string
	// StateDir is the folder that holds all that survives a restart.
	StateDir string
	// BootID is the kernel's: /proc/sys/kernel/random/boot_id.
	BootID string
	// ClusterID is the only cluster to follow; empty means the first that calls.
	ClusterID string
	// Policy says what may run here.
	Policy Policy
	// Capacity is what the host has, Reserved what enclaves must not get of it.
	Capacity, Reserved ledger.Capacity
	// Backend boots enclaves.
	Backend enclave.Backend
	// Inventory lists the GPUs. If it is a gpu.Watcher its events are followed.
	Inventory gpu.Inventory
	// SwitchModes permits changing the GPUs' mode while nobody holds one; the
	// inventory must be a gpu.ModeSetter.
	SwitchModes bool
	// CheckTEE says what is missing for the profile; nil checks nothing.
	CheckTEE func() error
	// Judge judges evidence; nil accepts none.
	Judge *judge.Judge
	// Dial returns a client of a guest; nil means guestclient.
	Dial func(endpoint string) (Guest, error)
	// Disk is what the enclaves' records are written to; nil means the real one.
	Disk atomicfile.FS
	// Log gets what an operator should know.
	Log *slog.Logger
	// Now is the clock.
	Now func() time.Time
	// Pulse, if set, is called after every pass of the host's loop that ended
	// with a self-check: for a watchdog.
	Pulse func()
	// Times are the intervals and deadlines.
	Times Times
}

// Guest is the part of guestclient.Client that the agent uses.
type Guest interface {
	// Boot returns the boot status, as guestclient.Client does.
	Boot(ctx context.Context, after uint64, wait time.Duration) (*guestapi.BootStatus, error)
	// Attestation returns evidence over the nonce and the TLS key's digest.
	Attestation(ctx context.Context, nonce [32]byte) ([]byte, [32]byte, error)
	// Close ends idle connections.
	Close()
}

// Times are the intervals and deadlines of an agent; 0 means the default.
type Times struct {
	// Inventory is between two looks at the GPUs (10 s), Host between two passes
	// of the host's loop that nothing else caused (5 s).
	Inventory, Host time.Duration
	// Observe is between two looks at an enclave's VM that no event caused (5 s).
	Observe time.Duration
	// Poll is how long a guest is asked to wait for news (10 s), Call how long it
	// may take to answer beyond that (5 s).
	Poll, Call time.Duration
	// Silent is for how long a guest's answers may be missing (10 s).
	Silent time.Duration
	// Boot is how long a guest may take to give evidence that is accepted (10 min).
	// BootPerGiB is added for each GiB of memory: TDX accepts all of it before the
	// guest's kernel starts.
	Boot, BootPerGiB time.Duration
	// Reattest is between two judgements of an enclave that was accepted (1 h).
	Reattest time.Duration
	// Prepare bounds what is fetched before a boot (15 min), Start the start of a
	// VM's process (2 min), Mode a change of the GPUs' mode (10 min).
	Prepare, Start, Mode time.Duration
	// FailGrace is how long the guest of an enclave that failed may take to power
	// off (10 s), StopMargin how long a kill may take after the grace time (30 s).
	FailGrace, StopMargin time.Duration
	// Retry is between attempts at what must succeed in the end (2 s).
	Retry time.Duration
	// Reader is how long a watch may take to accept a message (30 s).
	Reader time.Duration
}

func (t Times) withDefaults() Times {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Inventory, 10 * time.Second}, {&t.Host, 5 * time.Second}, {&t.Observe, 5 * time.Second},
		{&t.Poll, 10 * time.Second}, {&t.Call, 5 * time.Second}, {&t.Silent, 10 * time.Second},
		{&t.Boot, 10 * time.Minute}, {&t.Reattest, time.Hour}, {&t.Prepare, 15 * time.Minute}, {&t.Start, 2 * time.Minute},
		{&t.Mode, 10 * time.Minute}, {&t.FailGrace, 10 * time.Second}, {&t.StopMargin, 30 * time.Second},
		{&t.Retry, 2 * time.Second}, {&t.Reader, 30 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return t
}

// boot is how long an enclave of this spec may take to give evidence.
func (t Times) boot(spec *agentv1.EnclaveSpec) time.Duration {
	return t.Boot + time.Duration(spec.GetMemoryMib()/1024)*t.BootPerGiB //nolint:gosec // at most 16 TiB
}

// checked fills in the defaults and refuses what can't work.
func (c Config) checked() (Config, error) {
	switch {
	case c.Name == "" || c.StateDir == "" || c.BootID == "":
		return c, errors.New("agent config: name, state folder and boot id are required")
	case c.Backend == nil || c.Inventory == nil:
		return c, errors.New("agent config: backend and inventory are required")
	case c.Policy.Profile == agentv1.CvmProfile_CVM_PROFILE_UNSPECIFIED:
		return c, errors.New("agent config: no profile")
	}
	if _, ok := c.Inventory.(gpu.ModeSetter); c.SwitchModes && !ok {
		return c, fmt.Errorf("agent config: the modes of this host's GPUs can't be changed by the agent: turn gpu.switch_modes off")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Pulse == nil {
		c.Pulse = func() {}
	}
	if c.Judge == nil {
		var err error
		if c.Judge, err = judge.New(judge.Config{Now: c.Now}); err != nil {
			return c, fmt.Errorf("agent config: %w", err)
		}
	}
	if c.Dial == nil {
		c.Dial = func(endpoint string) (Guest, error) { return guestclient.New(guestclient.Config{Endpoint: endpoint}) }
	}
	c.Times = c.Times.withDefaults()
	return c, nil
}

// rules are those for the GPUs of an enclave.
func (c Config) rules(debug bool) gpu.Rules {
	return gpu.Rules{
		// A simulated TEE counts as one: it is there to show what a real one does.
		Insecure:    c.Policy.Profile == agentv1.CvmProfile_CVM_PROFILE_NONE && !c.Policy.Simulated,
		Debug:       debug,
		SwitchModes: c.SwitchModes,
	}
}
