package measure

import (
	"fmt"
	"sort"
	"strings"
)

// cpuModel is a family, model and stepping.
type cpuModel struct{ family, model, stepping uint32 }

// vcpuTypes are QEMU's AMD processor models (target/i386/cpu.c, builtin_x86_defs).
// All versions of a model have its signature.
var vcpuTypes = map[string]cpuModel{
	"EPYC": {23, 1, 2}, "EPYC-IBPB": {23, 1, 2}, "EPYC-Rome": {23, 49, 0}, "EPYC-Milan": {25, 1, 1},
	"EPYC-Genoa": {25, 17, 0}, "EPYC-Turin": {26, 0, 0},
}

// vcpuVersions says up to which -v number each model is known, in QEMU 11.
var vcpuVersions = map[string]int{
	"EPYC": 5, "EPYC-Rome": 5, "EPYC-Milan": 3, "EPYC-Genoa": 2, "EPYC-Turin": 1,
}

// VCPUTypes lists the processor models that LaunchDigest knows, sorted.
func VCPUTypes() []string {
	var out []string
	for name := range vcpuTypes {
		out = append(out, name)
		for v := 1; v <= vcpuVersions[name]; v++ {
			out = append(out, fmt.Sprintf("%s-v%d", name, v))
		}
	}
	sort.Strings(out)
	return out
}

// vcpuSignature returns CPUID Fn0000_0001_EAX of a processor model: family and model
// are split into base and extended parts (AMD 25481).
func vcpuSignature(name string) (uint64, error) {
	base := name
	if i := strings.LastIndex(name, "-v"); i > 0 {
		var v int
		if _, err := fmt.Sscanf(name[i:], "-v%d", &v); err == nil && v >= 1 && v <= vcpuVersions[name[:i]] &&
			name[i:] == fmt.Sprintf("-v%d", v) {
			base = name[:i]
		}
	}
	m, ok := vcpuTypes[base]
	if !ok {
		return 0, fmt.Errorf("unknown vCPU type %q, want one of %s", name, strings.Join(VCPUTypes(), ", "))
	}
	low, high := m.family, uint32(0)
	if m.family > 0xF {
		low, high = 0xF, m.family-0xF
	}
	return uint64(high<<20 | m.model>>4<<16 | low<<8 | m.model&0xF<<4 | m.stepping), nil
}
