package ledger

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Phase is how far a claim has come.
type Phase string

// The phases. A claim holds its cards in each of them.
const (
	PhaseClaimed   Phase = "claimed"   // recorded; hardware may have been touched, no enclave is known to run
	PhaseActive    Phase = "active"    // the enclave was started
	PhaseReleasing Phase = "releasing" // the enclave is being stopped and the hardware put back
)

// Claim is what one enclave holds.
type Claim struct {
	EnclaveID  string    `json:"enclave_id"`
	SpecDigest string    `json:"spec_digest"` // of the enclave's spec, as the caller computes it
	ClusterID  string    `json:"cluster_id"`  // whose enclave it is
	GPUs       []gpu.BDF `json:"gpus"`        // sorted
	Switches   []gpu.BDF `json:"switches"`    // sorted
	CPUs       int       `json:"cpus"`
	MemoryMiB  int64     `json:"memory_mib"`
	Phase      Phase     `json:"phase"`
	BootID     string    `json:"boot_id"` // the host's boot in which the claim was last known to be true
	Since      time.Time `json:"since"`   // when it was claimed, UTC
}

// Cards returns the addresses of the claim's GPUs and NVSwitches.
func (c Claim) Cards() []gpu.BDF { return slices.Concat(c.GPUs, c.Switches) }

// clone returns a copy that shares nothing with c.
func (c Claim) clone() Claim {
	c.GPUs, c.Switches = slices.Clone(c.GPUs), slices.Clone(c.Switches)
	return c
}

// Request asks for a claim.
type Request struct {
	EnclaveID  string
	SpecDigest string
	ClusterID  string
	CPUs       int
	MemoryMiB  int64
	GPUs       []gpu.BDF
	Switches   []gpu.BDF
	// Choose, if not nil, chooses the cards in place of GPUs and Switches while
	// no other claim can be made. It is not called for a claim that exists. It
	// must not call the ledger.
	Choose func(held gpu.Held, quarantined map[gpu.BDF]string) (gpus, switches []gpu.BDF, err error)
}

// Bounds on what is recorded. A host has at most a few dozen of anything.
const (
	maxText   = 256
	maxCards  = 64
	maxClaims = 1024
)

// validate says what is wrong with a claim in itself.
func (c Claim) validate() error {
	switch {
	case c.EnclaveID == "" || len(c.EnclaveID) > maxText:
		return fmt.Errorf("%w: the enclave id has %d bytes; it needs 1 to %d", ErrRequest, len(c.EnclaveID), maxText)
	case c.SpecDigest == "" || len(c.SpecDigest) > maxText:
		return fmt.Errorf("%w: the spec digest has %d bytes; it needs 1 to %d", ErrRequest, len(c.SpecDigest), maxText)
	case len(c.ClusterID) > maxText || len(c.BootID) > maxText:
		return fmt.Errorf("%w: an identifier has more than %d bytes", ErrRequest, maxText)
	case !utf8.ValidString(c.EnclaveID + c.SpecDigest + c.ClusterID + c.BootID):
		return fmt.Errorf("%w: an identifier is not UTF-8 text", ErrRequest)
	case c.CPUs < 0 || c.MemoryMiB < 0:
		return fmt.Errorf("%w: %d CPUs and %d MiB are asked for", ErrRequest, c.CPUs, c.MemoryMiB)
	case len(c.Cards()) > maxCards:
		return fmt.Errorf("%w: %d cards are asked for; at most %d can be", ErrRequest, len(c.Cards()), maxCards)
	}
	cards := c.Cards()
	slices.Sort(cards)
	for i, b := range cards {
		if canonical, err := gpu.ParseBDF(string(b)); err != nil || canonical != b {
			return fmt.Errorf("%w: %q is no canonical PCI address", ErrRequest, b)
		}
		if i > 0 && cards[i-1] == b {
			return fmt.Errorf("%w: card %s is named twice", ErrRequest, b)
		}
	}
	return nil
}
