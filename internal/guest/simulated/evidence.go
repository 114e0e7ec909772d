package simulated

import (
	"context"
	"fmt"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/internal/guest/gpus"
	"github.com/casemate-dev/casemate/internal/guest/tsm"
	"github.com/casemate-dev/casemate/internal/guest/tsm/tsmtest"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest/simulated/vendors"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/faults"
	"github.com/casemate-dev/casemate/pkg/gpu"
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
	devices, err := gpus.New(gpus.Config{NVML: driver{machine}, NSCQ: fabric{machine}})
	if err != nil {
		return nil, err
	}
	return tsm.New(tsm.Config{Client: kernel, Devices: devices.Devices})
}

// driver is NVML as the driver of a simulated machine's GPUs answers it.
type driver struct{ machine *vendors.Machine }

// Reports implements gpu.NVMLReporter.
func (d driver) Reports(nonce [32]byte) ([]gpu.NVMLReport, error) {
	list, err := d.machine.GPUs(nonce)
	if err != nil {
		return nil, err
	}
	var out []gpu.NVMLReport
	for i, e := range list {
		generation := gpu.Hopper
		if e.Arch == nvidia.Blackwell {
			generation = gpu.Blackwell
		}
		out = append(out, gpu.NVMLReport{BusID: fmt.Sprint("simulated ", i), Generation: generation, Report: e.Report, Chain: nvidia.ChainPEM(e.Chain)})
	}
	return out, nil
}

// fabric is NSCQ as the driver of a simulated machine's NVSwitches answers it.
type fabric struct{ machine *vendors.Machine }

// Reports implements gpu.NVSwitchReporter.
func (f fabric) Reports(nonce [32]byte) ([]gpu.NVSwitchReport, error) {
	list, err := f.machine.Switches(nonce)
	if err != nil {
		return nil, err
	}
	var out []gpu.NVSwitchReport
	for i, e := range list {
		out = append(out, gpu.NVSwitchReport{UUID: fmt.Sprint("simulated ", i), Report: e.Report, Chain: nvidia.ChainPEM(e.Chain)})
	}
	return out, nil
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
