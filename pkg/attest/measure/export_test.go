package measure

// SaveArea is a vCPU's save area page, for comparison field by field.
func SaveArea(vmm VMM, eip uint32, features, signature uint64) ([]byte, error) {
	s, err := resetState(vmm, eip, signature)
	if err != nil {
		return nil, err
	}
	return vmsaPage(s, eip, features), nil
}

// VCPUSignature is CPUID Fn0000_0001_EAX of a processor model.
var VCPUSignature = vcpuSignature

// Authenticode is the digest of a PE image.
var Authenticode = authenticode

// PatchKernel is QEMU's change of the setup header.
var PatchKernel = patchKernel
