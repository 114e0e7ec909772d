package simulated

import (
	"context"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
)

// hardware states what a simulated machine was launched with.
type hardware struct {
	measurement [48]byte
	hostData    [32]byte
	debug       bool
	now         func() time.Time
}

// newHardware launches with this spec; a wrong one states another measurement.
func newHardware(spec *agentv1.EnclaveSpec, wrong bool, now func() time.Time) *hardware {
	shape := simulated.ShapeOf(spec)
	if wrong {
		shape.CVMVersion += " changed by the host"
	}
	return &hardware{
		measurement: simulated.Measurement(shape), debug: shape.Debug, now: now,
		hostData: evidence.PlatformDigest(spec.GetPlatform()),
	}
}

// Format implements guest.EvidenceSource.
func (*hardware) Format() attest.Format { return attest.FormatSimulated }

// HostData implements guest.EvidenceSource.
func (h *hardware) HostData(context.Context) ([32]byte, error) { return h.hostData, nil }

// Devices implements guest.EvidenceSource: simulated GPUs state nothing.
func (*hardware) Devices(context.Context, [32]byte) ([][]byte, error) { return nil, nil }

// Report implements guest.EvidenceSource.
func (h *hardware) Report(_ context.Context, data [64]byte) ([]byte, [][]byte, error) {
	return simulated.Report{
		Measurement: h.measurement, HostData: h.hostData, ReportData: data, Debug: h.debug, Issued: h.now(),
	}.Encode(), nil, nil
}
