// Package gpus has the GPUs of an enclave and, in protected PCIe mode, their NVSwitches
// report over a caller's nonce, through NVML and NSCQ, and makes the documents that
// stand beside the processor's report.
package gpus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// DefaultDeadline bounds one round of reports. Eight cards take some seconds.
const DefaultDeadline = 15 * time.Second

// Bounds on what a broken driver can make of one enclave. Both together are what an
// evidence document holds.
const (
	maxCards    = 16
	maxSwitches = 16
)

// Config says whom to ask. Both are required.
type Config struct {
	// NVML asks the cards.
	NVML gpu.NVMLReporter
	// NSCQ asks the NVSwitches. It is not called unless a card's report says that its
	// PCIe is protected.
	NSCQ gpu.NVSwitchReporter
	// Deadline bounds one round, cards and switches together; 0 means DefaultDeadline.
	Deadline time.Duration
}

// Source asks the devices, one round at a time. It is safe for concurrent use.
type Source struct {
	deadline time.Duration
	nvml     library[gpu.NVMLReport]
	nscq     library[gpu.NVSwitchReport]
}

// New returns a source. It asks nothing yet.
func New(cfg Config) (*Source, error) {
	if cfg.NVML == nil || cfg.NSCQ == nil {
		return nil, errors.New("gpus: NVML and NSCQ are required")
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = DefaultDeadline
	}
	return &Source{deadline: cfg.Deadline, nvml: newLibrary("NVML", cfg.NVML.Reports), nscq: newLibrary("NSCQ", cfg.NSCQ.Reports)}, nil
}

// Devices returns one document per GPU over the nonce, then one per NVSwitch where the
// GPUs' PCIe is protected.
func (s *Source) Devices(ctx context.Context, nonce [32]byte) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	cards, err := s.nvml.ask(ctx, nonce)
	if err != nil {
		return nil, err
	}
	if len(cards) > maxCards {
		return nil, fmt.Errorf("NVML has reports of %d cards; an enclave has at most %d", len(cards), maxCards)
	}
	var out [][]byte
	var protected *nvidia.Report // of a card whose PCIe is
	for _, r := range cards {
		document, report, err := card(r, nonce)
		if err != nil {
			return nil, fmt.Errorf("GPU %.64s: %w", r.BusID, err)
		}
		out = append(out, document)
		mode, err := report.Opaque.Mode()
		if err != nil {
			return nil, fmt.Errorf("GPU %.64s: %w", r.BusID, err)
		}
		if mode == nvidia.ModeProtectedPCIe {
			protected = report
		}
	}
	if protected == nil {
		return out, nil
	}
	more, err := s.switches(ctx, nonce, protected)
	if err != nil {
		return nil, fmt.Errorf("the GPUs are in protected PCIe mode, and their NVSwitches don't report: %w", err)
	}
	return append(out, more...), nil
}

// switches returns one document per NVSwitch; a card's report tells the driver.
func (s *Source) switches(ctx context.Context, nonce [32]byte, card *nvidia.Report) ([][]byte, error) {
	list, err := s.nscq.ask(ctx, nonce)
	switch {
	case errors.Is(err, gpu.ErrNoNSCQ):
		return nil, fmt.Errorf("%w: %s", err, whatToInstall(card))
	case err != nil:
		return nil, err
	case len(list) == 0 || len(list) > maxSwitches:
		return nil, fmt.Errorf("NSCQ has reports of %d switches; a board has 1 to %d", len(list), maxSwitches)
	}
	var out [][]byte
	for _, r := range list {
		document, _, err := encode(nvidia.LS10, r.Report, r.Chain, nonce)
		if err != nil {
			return nil, fmt.Errorf("switch %.64s: %w", r.UUID, err)
		}
		out = append(out, document)
	}
	return out, nil
}

// whatToInstall names the package that has NSCQ. NVIDIA's repositories have it with
// the driver's branch in its name, for newer drivers without.
func whatToInstall(card *nvidia.Report) string {
	version, err := card.Opaque.DriverVersion()
	if err != nil {
		return fmt.Sprintf("install libnvidia-nscq of exactly the driver's version, which the GPU's report does not tell (%v)", err)
	}
	branch, _, _ := strings.Cut(version, ".")
	return fmt.Sprintf("install libnvidia-nscq-%s, or libnvidia-nscq, of exactly the driver's version %s", branch, version)
}

func card(r gpu.NVMLReport, nonce [32]byte) ([]byte, *nvidia.Report, error) {
	arch, known := map[gpu.Generation]nvidia.Architecture{gpu.Hopper: nvidia.Hopper, gpu.Blackwell: nvidia.Blackwell}[r.Generation]
	if !known {
		return nil, nil, fmt.Errorf("a card of the generation %.40q makes no reports that are known here", r.Generation)
	}
	return encode(arch, r.Report, r.Chain, nonce)
}

// encode checks that a report is one, and over this nonce, before it is bound to the
// processor's: what is shown to be no answer would be refused by everybody.
func encode(arch nvidia.Architecture, report, chain []byte, nonce [32]byte) ([]byte, *nvidia.Report, error) {
	parsed, err := nvidia.ParseReport(report)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(parsed.Nonce, nonce[:]) {
		return nil, nil, fmt.Errorf("its report answers the nonce %x, not %x", parsed.Nonce, nonce)
	}
	e, err := nvidia.NewEvidence(arch, report, chain)
	if err != nil {
		return nil, nil, err
	}
	document, err := nvidia.EncodeEvidence(e)
	return document, parsed, err
}
