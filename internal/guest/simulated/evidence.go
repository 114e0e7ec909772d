package simulated

import (
	"context"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/internal/guest/tsm"
	"github.com/casemate-dev/casemate/internal/guest/tsm/tsmtest"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest/simulated/vendors"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/faults"
)

// unsigned states what a simulated machine was launched with.
type unsigned struct {
	measurement [48]byte
	hostData    [32]byte
	debug       bool
	now         func() time.Time
}

// hardware is what the machine's guest has its evidence from: the kernel of a
// simulated machine if the folder has one, else a mark that nobody signs.
func (m *machine) hardware(now func() time.Time) (guest.EvidenceSource, error) {
	launched := newUnsigned(m.spec, m.faults.Kind == faults.AttestationWrong, now)
	raw, err := m.dir.ReadMachine()
	if err != nil || raw == nil {
		return launched, err
	}
	machine, err := vendors.ParseMachine(raw)
	if err != nil {
		return nil, err
	}
	kernel := tsmtest.New(machine.Provider(), machine.Processor(vendors.Launch{
		Measurement: launched.measurement, HostData: launched.hostData,
	}))
	return tsm.New(tsm.Config{Client: kernel, Devices: func(_ context.Context, nonce [32]byte) ([][]byte, error) {
		return machine.Devices(nonce)
	}})
}

// newUnsigned launches with this spec; a wrong one states another measurement.
func newUnsigned(spec *agentv1.EnclaveSpec, wrong bool, now func() time.Time) *unsigned {
	shape := simulated.ShapeOf(spec)
	if wrong {
		shape.CVMVersion += " changed by the host"
	}
	return &unsigned{
		measurement: simulated.Measurement(shape), debug: shape.Debug, now: now,
		hostData: evidence.PlatformDigest(spec.GetPlatform()),
	}
}

// Format implements guest.EvidenceSource.
func (*unsigned) Format() attest.Format { return attest.FormatSimulated }

// HostData implements guest.EvidenceSource.
func (h *unsigned) HostData(context.Context) ([32]byte, error) { return h.hostData, nil }

// Devices implements guest.EvidenceSource: simulated GPUs state nothing.
func (*unsigned) Devices(context.Context, [32]byte) ([][]byte, error) { return nil, nil }

// Report implements guest.EvidenceSource.
func (h *unsigned) Report(_ context.Context, data [64]byte) ([]byte, [][]byte, error) {
	return simulated.Report{
		Measurement: h.measurement, HostData: h.hostData, ReportData: data, Debug: h.debug, Issued: h.now(),
	}.Encode(), nil, nil
}
