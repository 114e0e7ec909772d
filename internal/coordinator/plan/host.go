package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/pkg/attest"
)

// Host is what the planner knows of one host.
type Host struct {
	Name string
	// Down says why the host can't be used at all: unreachable, cordoned, of a
	// TEE that the coordinator's policy does not permit. Empty if it can.
	Down string
	// Joining says that the host has not answered yet since the coordinator began to
	// follow it, and may do so any moment: what room it has can't be told.
	Joining bool
	// Platform is what its enclaves show themselves as.
	Platform attest.Format
	// Free is what is neither claimed nor reserved.
	Free model.Room
	// Offers are the GPU counts the agent can give right now, Counts those it can
	// give when no enclave holds a GPU. Both ascending.
	Offers, Counts []int
}

// Hosts are hosts in the order of their names, in pages of any length but none, so
// that a change of one copies few of the others.
type Hosts [][]Host

// all yields the hosts in their order.
func (h Hosts) all(yield func(*Host) bool) {
	for _, page := range h {
		for i := range page {
			if !yield(&page[i]) {
				return
			}
		}
	}
}

func (h Hosts) count() int {
	n := 0
	for _, page := range h {
		n += len(page)
	}
	return n
}

// missing says what a host lacks to run what is asked for, in words; empty if it
// fits.
func (h *Host) missing(r Request) string {
	if h.Down != "" {
		return h.Down
	}
	if !h.measured(r.Platforms) {
		return fmt.Sprintf("runs enclaves as %s, for which the release was not measured", h.Platform)
	}
	room := r.Room
	var lacks []string
	if room.GPUs > 0 {
		lacks = appendLack(lacks, h.gpusLacking(room.GPUs))
	}
	if h.Free.CPUs < room.CPUs {
		lacks = append(lacks, fmt.Sprintf("%d of %d vCPUs free", max(h.Free.CPUs, 0), room.CPUs))
	}
	if h.Free.MemoryMiB < room.MemoryMiB {
		lacks = append(lacks, fmt.Sprintf("%d of %d MiB memory free", max(h.Free.MemoryMiB, 0), room.MemoryMiB))
	}
	return strings.Join(lacks, ", ")
}

// measured says whether a release with these platforms may run on the host.
func (h *Host) measured(platforms []attest.Format) bool {
	return len(platforms) == 0 || slices.Contains(platforms, h.Platform)
}

func appendLack(lacks []string, lack string) []string {
	if lack == "" {
		return lacks
	}
	return append(lacks, lack)
}

// gives says whether the agent can give so many GPUs right now.
func (h *Host) gives(gpus int) bool {
	return h.Free.GPUs >= gpus && slices.Contains(h.Offers, gpus)
}

func (h *Host) gpusLacking(gpus int) string {
	switch {
	case h.gives(gpus):
		return ""
	case h.Free.GPUs < gpus:
		return fmt.Sprintf("%d of %d GPUs free", max(h.Free.GPUs, 0), gpus)
	case slices.Contains(h.Counts, gpus):
		return fmt.Sprintf("can't give %d GPUs while others are in use (offers %s)", gpus, counts(h.Offers))
	}
	return fmt.Sprintf("never gives %d GPUs to one enclave (offers %s)", gpus, counts(h.Counts))
}

func counts(n []int) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(n)), ", "), "[]")
}

// after is the host as it would be once an enclave with this room is gone.
func (h *Host) after(gone model.Room) Host {
	out := *h
	out.Free = h.Free.Plus(gone)
	out.Offers = nil
	for _, n := range h.Counts {
		if n <= out.Free.GPUs {
			out.Offers = append(out.Offers, n)
		}
	}
	return out
}

// better says whether h is the better place than o for a revision that fits on
// both: fewest free GPUs first, so that whole hosts stay whole, then fewest free
// vCPUs.
func (h *Host) better(o *Host) bool {
	if h.Free.GPUs != o.Free.GPUs {
		return h.Free.GPUs < o.Free.GPUs
	}
	return h.Free.CPUs < o.Free.CPUs
}
