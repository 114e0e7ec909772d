package simulated

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

const (
	tagMeasurement = "casemate/simulated-measurement/v1"
	tagRegister    = "casemate/simulated-rtmr/v1"
)

// Shape is what a simulated launch measures: the config's digest, which a real
// CVM image has on its measured command line, and the machine.
type Shape struct {
	// ConfigDigest is SHA-256 of the config file.
	ConfigDigest [sha256.Size]byte
	// CVMVersion is the CVM image's version.
	CVMVersion string
	// CPUs, MemoryMiB and GPUs are the machine's size.
	CPUs      uint32
	MemoryMiB uint64
	GPUs      uint32
	// Debug is whether it is a debug enclave: its measurement differs, so that it
	// never passes for the production enclave of the same release.
	Debug bool
}

// ShapeOf takes the shape from the spec of an enclave. Its expected
// measurements play no part.
func ShapeOf(spec *agentv1.EnclaveSpec) Shape {
	return Shape{
		ConfigDigest: sha256.Sum256(spec.GetConfig()), CVMVersion: spec.GetCvmVersion(),
		CPUs: spec.GetCpus(), MemoryMiB: spec.GetMemoryMib(), GPUs: spec.GetGpus(),
		Debug: spec.GetPlatform().GetDebug(),
	}
}

// Measurement is the measurement of a simulated launch: SHA-384 over a domain
// tag and the shape's fields, texts preceded by their lengths.
func Measurement(s Shape) [48]byte {
	b := appendText(nil, tagMeasurement)
	b = append(b, s.ConfigDigest[:]...)
	b = appendText(b, s.CVMVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(s.CPUs))
	b = binary.BigEndian.AppendUint64(b, s.MemoryMiB)
	b = binary.BigEndian.AppendUint64(b, uint64(s.GPUs))
	b = binary.BigEndian.AppendUint64(b, flags(s.Debug))
	return sha512.Sum384(b)
}

// Registers are RTMR0 to RTMR2 that a simulated TDX machine shows beside a measurement
// as its MRTD: SHA-384 over a domain tag, the register's number and the measurement.
// They follow from it, so that a release that says it says them too.
func Registers(measurement [48]byte) [3][48]byte {
	var out [3][48]byte
	for i := range out {
		b := binary.BigEndian.AppendUint64(appendText(nil, tagRegister), uint64(i))
		out[i] = sha512.Sum384(append(b, measurement[:]...))
	}
	return out
}

// MeasurementHex is Measurement of the spec's shape in lower-case hex, as it
// stands in EnclaveSpec.expected_measurements.
func MeasurementHex(spec *agentv1.EnclaveSpec) string {
	m := Measurement(ShapeOf(spec))
	return hex.EncodeToString(m[:])
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}

const flagDebug = 1

func flags(debug bool) uint64 {
	if debug {
		return flagDebug
	}
	return 0
}
