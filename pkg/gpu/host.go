package gpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Config says where a Host gets its facts. Root is required.
type Config struct {
	// Root is the filesystem root, normally "/".
	Root string
	// NVML speaks for cards that the nvidia driver holds; nil if there is none.
	NVML NVML
	// Modes reads the mode of the other cards; nil means ModeRegister{Root}.
	Modes ModeReader
	// Deadline is the time that one call into NVML gets; 0 means five seconds.
	Deadline time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Host is the inventory of a real host: PCI first, so that a card handed to an
// enclave doesn't vanish, then NVML and the mode register for what PCI doesn't
// know. It implements Inventory and Watcher.
type Host struct {
	root   string
	nvml   NVML
	modes  ModeReader
	now    func() time.Time
	calls  *guard // NVML queries
	events *guard // NVML's wait for events, which takes long by design

	mu   sync.Mutex
	sick map[BDF]string // cards whose last words were a bad Xid
}

var (
	_ Inventory = (*Host)(nil)
	_ Watcher   = (*Host)(nil)
)

// defaultDeadline is ample for a healthy driver, whose calls take milliseconds.
const defaultDeadline = 5 * time.Second

// NewHost returns the inventory of a host.
func NewHost(cfg Config) (*Host, error) {
	if cfg.Root == "" || cfg.Deadline < 0 {
		return nil, errors.New("GPU inventory: the filesystem root is missing, or the deadline is negative")
	}
	if cfg.Modes == nil {
		cfg.Modes = ModeRegister{Root: cfg.Root}
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = defaultDeadline
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Host{
		root: cfg.Root, nvml: cfg.NVML, modes: cfg.Modes, now: cfg.Now,
		calls: newGuard(cfg.Deadline, cfg.Now), events: newGuard(cfg.Deadline+eventWait, cfg.Now),
		sick: map[BDF]string{},
	}, nil
}

// Snapshot implements Inventory.
func (h *Host) Snapshot(ctx context.Context) (Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return Snapshot{}, fmt.Errorf("list GPUs: %w", err)
	}
	functions, err := ReadPCI(h.root)
	if err != nil {
		return Snapshot{}, fmt.Errorf("list GPUs: %w", err)
	}
	s := Snapshot{At: h.now()}
	devices := h.devices(ctx, functions, &s)
	for _, f := range functions {
		switch {
		case f.IsGPU():
			g := h.card(ctx, f, devices)
			g.Index = len(s.GPUs)
			g.Reasons = append(g.Reasons, foreigners(f, functions)...)
			s.GPUs = append(s.GPUs, g)
		case f.IsSwitch():
			s.Switches = append(s.Switches, nvswitch(f, functions))
		case f.Problem != "" && (f.Vendor == vendorNVIDIA || f.Vendor == 0):
			s.Conditions = append(s.Conditions, Condition{"pci-unreadable", SeverityWarning,
				fmt.Sprintf("PCI function %s may be a GPU and can't be read: %s", f.BDF, f.Problem), s.At})
		}
	}
	return s, nil
}

// devices asks NVML, if a card is bound to its driver, and returns its answers
// by address. A failure is a condition.
func (h *Host) devices(ctx context.Context, functions []Function, s *Snapshot) map[BDF]NVMLDevice {
	if !slices.ContainsFunc(functions, func(f Function) bool { return f.IsGPU() && f.Driver == DriverNVIDIA }) {
		return nil
	}
	if h.nvml == nil {
		s.Conditions = append(s.Conditions, Condition{"nvml-missing", SeverityError,
			"cards are bound to the nvidia driver, and this agent has no NVML to ask about them", s.At})
		return nil
	}
	list, err := guarded(ctx, h.calls, h.nvml.Devices)
	if since, stuck := h.calls.stuckSince(); stuck {
		s.Conditions = append(s.Conditions, Condition{"nvml-stuck", SeverityError,
			"NVML does not return; the driver hangs, and the host needs a look, likely a reboot", since})
	} else if err != nil {
		s.Conditions = append(s.Conditions, Condition{"nvml-failed", SeverityError,
			fmt.Sprintf("NVML does not list the cards: %v", err), s.At})
	}
	devices := map[BDF]NVMLDevice{}
	for _, d := range list {
		b, err := ParseBDF(d.BusID)
		if err != nil {
			s.Conditions = append(s.Conditions, Condition{"nvml-address", SeverityWarning,
				fmt.Sprintf("NVML lists a card at no PCI address: %v", err), s.At})
			continue
		}
		devices[b] = d
	}
	return devices
}

// nvswitch describes an NVSwitch. Nothing here can read its mode.
func nvswitch(f Function, all []Function) Switch {
	w := Switch{BDF: f.BDF, DeviceID: f.Device, Driver: f.Driver, IOMMUGroup: f.IOMMUGroup, NUMANode: f.NUMANode,
		Mode: ModeUnreadable, Healthy: f.Problem == "", Reasons: foreigners(f, all)}
	if f.Problem != "" {
		w.Reasons = append(w.Reasons, Reason{ReasonUnreadable, f.Problem})
	}
	return w
}

// foreigners says whether something other than GPUs, NVSwitches and bridges
// shares the card's IOMMU group: such a group can't be handed over.
func foreigners(f Function, all []Function) []Reason {
	if f.IOMMUGroup == unknownIOMMUGroup {
		return nil
	}
	for _, other := range all {
		mine := other.IsGPU() || other.IsSwitch() || other.Class == classPCIBridge || sibling(f, other)
		if other.IOMMUGroup == f.IOMMUGroup && !mine {
			return []Reason{{ReasonIOMMU, fmt.Sprintf("%s shares IOMMU group %d", other.BDF, f.IOMMUGroup)}}
		}
	}
	return nil
}

// sibling reports whether two functions are of one NVIDIA card, such as the
// audio function of a card with display.
func sibling(a, b Function) bool {
	return a.Vendor == vendorNVIDIA && b.Vendor == vendorNVIDIA && a.BDF[:len(a.BDF)-2] == b.BDF[:len(b.BDF)-2]
}
