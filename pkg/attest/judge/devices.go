package judge

import (
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
)

// judgeDevices judges the evidence of GPUs and switches, and how many there are.
func (t *trial) judgeDevices() {
	want := t.expect.GPUs
	if want < 0 {
		t.verdict.NotPinned = append(t.verdict.NotPinned, "gpus")
	}
	if len(t.doc.DeviceEvidence) == 0 {
		t.withoutDevices()
		return
	}
	e, err := t.devices()
	if err != nil {
		t.verdict.Fail(CheckGPUs, "%v", err)
		return
	}
	gpus := 0
	for _, d := range e.Devices {
		if !d.Arch.IsSwitch() {
			gpus++
		}
	}
	if want >= 0 && gpus != want {
		t.verdict.Fail(CheckGPUs, "the evidence is of %d GPUs, the enclave was given %d", gpus, want)
	} else {
		t.verdict.Pass(CheckGPUs, "there is evidence of %d GPUs and %d switches", gpus, len(e.Devices)-gpus)
	}
	t.verifyDevices(e)
}

// withoutDevices judges that there is no evidence of devices. An unsigned enclave's
// GPUs have none: nothing about it is proved anyhow.
func (t *trial) withoutDevices() {
	switch {
	case t.doc.Format == attest.FormatSimulated:
	case t.expect.GPUs > 0:
		t.verdict.Fail(CheckGPUs, "the enclave was given %d GPUs, and there is no evidence of any", t.expect.GPUs)
	default:
		t.verdict.Pass(CheckGPUs, "the enclave shows no GPU")
	}
}

// devices joins the documents: the evidence speaks of all devices of the enclave.
func (t *trial) devices() (nvidia.Evidence, error) {
	all := nvidia.Evidence{System: true}
	for _, document := range t.doc.DeviceEvidence {
		e, err := nvidia.ParseEvidence(document)
		if err != nil {
			return all, err
		}
		if all.Devices = append(all.Devices, e.Devices...); len(all.Devices) > nvidia.MaxDevices {
			return all, fmt.Errorf("the evidence is of more than %d devices", nvidia.MaxDevices)
		}
	}
	return all, nil
}

func (t *trial) verifyDevices(e nvidia.Evidence) {
	p, err := t.policy.ForNVIDIA()
	if err != nil {
		t.verdict.Fail(CheckPolicy, "%v", err)
		return
	}
	p.PermitUnpinned = false
	p.DeviceRoots, p.RIMRoots = nil, nil
	for _, root := range t.roots {
		p.DeviceRoots = append(p.DeviceRoots, policy.Fingerprint(root))
		p.RIMRoots = append(p.RIMRoots, policy.Fingerprint(root))
	}
	rims, ocsp := t.getDevices(e, p)
	t.verdict.Merge("", t.nvidia.Verify(e, rims, ocsp, p, t.expect.Nonce[:], t.at))
}
