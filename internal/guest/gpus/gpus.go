// Package gpus has the GPUs of an enclave report over a caller's nonce, through
// NVML, and makes the documents that stand beside the processor's report.
package gpus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// DefaultDeadline bounds one round of reports. Eight cards take some seconds.
const DefaultDeadline = 15 * time.Second

// maxCards bounds what a broken driver can make of one enclave.
const maxCards = 16

// Config says whom to ask.
type Config struct {
	// NVML asks the cards; it is required.
	NVML gpu.NVMLReporter
	// Switches gives the documents of NVSwitches over the nonce, of which NVML
	// knows nothing; nil gives none.
	Switches func(ctx context.Context, nonce [32]byte) ([][]byte, error)
	// Deadline bounds one round; 0 means DefaultDeadline.
	Deadline time.Duration
}

// Source asks the cards, one round at a time. It is safe for concurrent use.
type Source struct {
	cfg  Config
	turn chan struct{} // holds a token while a call into the library runs
}

// New returns a source. It asks nothing yet.
func New(cfg Config) (*Source, error) {
	if cfg.NVML == nil {
		return nil, errors.New("gpus: NVML is required")
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = DefaultDeadline
	}
	return &Source{cfg: cfg, turn: make(chan struct{}, 1)}, nil
}

// Devices returns one document per GPU and switch over the nonce. A driver that
// doesn't return costs its callers the deadline, and one goroutine in all: it is not
// called again before it has returned.
func (s *Source) Devices(ctx context.Context, nonce [32]byte) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Deadline)
	defer cancel()
	reports, err := s.ask(ctx, nonce)
	if err != nil {
		return nil, err
	}
	if len(reports) > maxCards {
		return nil, fmt.Errorf("NVML has reports of %d cards; an enclave has at most %d", len(reports), maxCards)
	}
	var out [][]byte
	for _, r := range reports {
		document, err := encode(r, nonce)
		if err != nil {
			return nil, fmt.Errorf("GPU %.64s: %w", r.BusID, err)
		}
		out = append(out, document)
	}
	if s.cfg.Switches == nil {
		return out, nil
	}
	more, err := s.cfg.Switches(ctx, nonce)
	if err != nil {
		return nil, fmt.Errorf("ask the NVSwitches: %w", err)
	}
	return append(out, more...), nil
}

type answer struct {
	reports []gpu.NVMLReport
	err     error
}

func (s *Source) ask(ctx context.Context, nonce [32]byte) ([]gpu.NVMLReport, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("NVML has not returned from an earlier call: %w", ctx.Err())
	}
	answered := make(chan answer, 1)
	go func() {
		reports, err := s.cfg.NVML.Reports(nonce)
		<-s.turn
		answered <- answer{reports, err}
	}()
	select {
	case a := <-answered:
		return a.reports, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("NVML does not return: %w", ctx.Err())
	}
}

// encode checks that a report is one, and over this nonce, before it is bound to the
// processor's: what is shown to be no answer would be refused by everybody.
func encode(r gpu.NVMLReport, nonce [32]byte) ([]byte, error) {
	arch, known := map[gpu.Generation]nvidia.Architecture{gpu.Hopper: nvidia.Hopper, gpu.Blackwell: nvidia.Blackwell}[r.Generation]
	if !known {
		return nil, fmt.Errorf("a card of the generation %.40q makes no reports that are known here", r.Generation)
	}
	parsed, err := nvidia.ParseReport(r.Report)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(parsed.Nonce, nonce[:]) {
		return nil, fmt.Errorf("its report answers the nonce %x, not %x", parsed.Nonce, nonce)
	}
	e, err := nvidia.NewEvidence(arch, r.Report, r.Chain)
	if err != nil {
		return nil, err
	}
	return nvidia.EncodeEvidence(e)
}
