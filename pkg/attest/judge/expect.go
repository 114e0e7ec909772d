package judge

import (
	"crypto/sha256"
	"fmt"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
)

// AnyGPUs is the count of a caller that can't know how many GPUs the enclave was
// given. What evidence there is of GPUs is judged; the verdict lists "gpus" as not
// pinned.
const AnyGPUs = -1

// Expect is what the caller knows of the enclave beforehand. What is forgotten is
// compared as zero, and refuses.
type Expect struct {
	// Nonce is the one that the caller sent with this request.
	Nonce [32]byte
	// TLSKeyDigest is of the key that the caller saw on its connection.
	TLSKeyDigest [32]byte
	// ConfigDigest is SHA-256 of the config file.
	ConfigDigest [32]byte
	// PlatformDigest is evidence.PlatformDigest of the platform part.
	PlatformDigest [32]byte
	// AnyPlatform is said by callers that can't know the platform part.
	AnyPlatform bool
	// Measurements are the launches of which one must have been this enclave's.
	Measurements []Measurement
	// GPUs is how many the enclave was given, or AnyGPUs.
	GPUs int
	// AllowDebug accepts a debug enclave, which has a shell. Whether the host may
	// read its memory is another matter, and the policy's (allow_debug).
	AllowDebug bool
}

// ForSpec is what the spec of an enclave makes one expect. The caller fills in
// Nonce, TLSKeyDigest and, if it allows debug enclaves and the spec is of one,
// AllowDebug.
func ForSpec(spec *agentv1.EnclaveSpec) (Expect, error) {
	measurements, err := ParseMeasurements(spec.GetExpectedMeasurements())
	if err != nil {
		return Expect{}, err
	}
	return Expect{
		ConfigDigest:   sha256.Sum256(spec.GetConfig()),
		PlatformDigest: evidence.PlatformDigest(spec.GetPlatform()),
		Measurements:   measurements,
		GPUs:           int(spec.GetGpus()),
	}, nil
}

func (e Expect) common() evidence.Expect {
	return evidence.Expect{
		Nonce: e.Nonce, TLSKeyDigest: e.TLSKeyDigest, ConfigDigest: e.ConfigDigest,
		PlatformDigest: e.PlatformDigest, AnyPlatform: e.AnyPlatform,
	}
}

// ParseMeasurements reads measurements as they stand in
// EnclaveSpec.expected_measurements.
func ParseMeasurements(texts []string) ([]Measurement, error) {
	out := make([]Measurement, 0, len(texts))
	for i, text := range texts {
		m, err := ParseMeasurement(text)
		if err != nil {
			return nil, fmt.Errorf("expected measurement %d: %w", i, err)
		}
		out = append(out, m)
	}
	return out, nil
}
