package gpu

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// eventWait is how long one wait for an Xid lasts.
const eventWait = time.Second

// card describes a GPU from PCI, and from NVML or the mode register.
func (h *Host) card(ctx context.Context, f Function, devices map[BDF]NVMLDevice) GPU {
	name, generation := Model(f.Device)
	g := GPU{
		BDF: f.BDF, Model: name, Generation: generation, DeviceID: f.Device, Driver: f.Driver,
		IOMMUGroup: f.IOMMUGroup, NUMANode: f.NUMANode, Mode: ModeUnreadable, Healthy: true,
	}
	for _, b := range f.BARs {
		if b.Index == frameBufferBAR {
			g.MemoryMiB = b.Size >> 20
		}
	}
	if f.Problem != "" {
		g.Reasons = append(g.Reasons, Reason{ReasonUnreadable, "sysfs: " + f.Problem})
	}
	if f.Driver == DriverNVIDIA {
		enrich(&g, devices)
	}
	if g.Mode == ModeUnreadable {
		mode, err := h.modes.ReadMode(ctx, f.BDF, generation)
		if g.Mode = mode; err != nil {
			g.Reasons = append(g.Reasons, Reason{ReasonUnreadable, err.Error()})
		}
	}
	if words, ok := h.lastWords(f.BDF); ok {
		g.Healthy = false
		g.Reasons = append(g.Reasons, Reason{ReasonSick, words})
	}
	return g
}

// enrich adds what NVML says of a card that its driver holds.
func enrich(g *GPU, devices map[BDF]NVMLDevice) {
	d, ok := devices[g.BDF]
	if !ok {
		g.Healthy = false
		g.Reasons = append(g.Reasons, Reason{ReasonUnreadable, "the nvidia driver holds the card, and NVML does not show it"})
		return
	}
	g.UUID, g.MIG, g.ECC, g.Mode = d.UUID, d.MIG, d.ECC, d.Mode
	if d.Mode == "" {
		g.Mode = ModeUnreadable
	}
	if d.Name != "" {
		g.Model = d.Name
	}
	if d.MemoryMiB > 0 {
		g.MemoryMiB = d.MemoryMiB
	}
	if d.Problem != "" {
		g.Healthy = false
		g.Reasons = append(g.Reasons, Reason{ReasonUnreadable, d.Problem})
	}
	switch {
	case d.ECC.RemapFailed:
		g.Healthy = false
		g.Reasons = append(g.Reasons, Reason{ReasonSick, "row remapping failed: the card must be replaced"})
	case d.ECC.RemapPending:
		g.Healthy = false
		g.Reasons = append(g.Reasons, Reason{ReasonSick, "a row remapping waits for a reset of the card"})
	}
}

// Watch implements Watcher: it reports Xids of cards that the nvidia driver
// holds. A card handed to an enclave tells its Xids to the guest only.
func (h *Host) Watch(ctx context.Context, fn func(Event)) error {
	if h.nvml == nil {
		return fmt.Errorf("watch for Xids: %w", ErrNoNVML)
	}
	type wait struct {
		xid  NVMLXid
		came bool
	}
	for {
		w, err := guarded(ctx, h.events, func() (wait, error) {
			xid, came, err := h.nvml.WaitXid(eventWait)
			return wait{xid, came}, err
		})
		if err := errors.Join(ctx.Err(), err); err != nil {
			return fmt.Errorf("watch for Xids: %w", err)
		}
		if !w.came {
			continue
		}
		e := Event{Xid: w.xid.Xid, At: h.now(), Sick: SickXid(w.xid.Xid)}
		if e.BDF, err = ParseBDF(w.xid.BusID); err != nil {
			continue // an Xid of no card can't be charged to one
		}
		if e.Sick {
			h.setLastWords(e.BDF, fmt.Sprintf("Xid %d at %s", e.Xid, e.At.UTC().Format(time.RFC3339)))
		}
		fn(e)
	}
}

// Forgive makes a card that an Xid took out of service healthy again: the word
// of an operator or of a clean reset.
func (h *Host) Forgive(card BDF) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sick, card)
}

func (h *Host) lastWords(card BDF) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	words, ok := h.sick[card]
	return words, ok
}

func (h *Host) setLastWords(card BDF, words string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sick[card] = words
}
