package enclave

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// maxSpec bounds an encoded spec: a config of 1 MiB and as much around it.
const maxSpec = 4 << 20

// EncodeSpec returns the spec's deterministic encoding.
func EncodeSpec(spec *agentv1.EnclaveSpec) ([]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	if len(raw) > maxSpec {
		return nil, fmt.Errorf("encode spec: %d bytes; at most %d are allowed", len(raw), maxSpec)
	}
	return raw, nil
}

// SpecDigest is SHA-256 of the spec's deterministic encoding in lower-case hex:
// two specs are the same if their digests are.
func SpecDigest(spec *agentv1.EnclaveSpec) (string, error) {
	raw, err := EncodeSpec(spec)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// idForm is that of CreateEnclaveRequest.id: safe as a file name and a label.
var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,127}$`)

// CheckID accepts 1 to 128 lower-case letters, digits and hyphens that do not
// begin with a hyphen.
func CheckID(id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("enclave id %.140q: must be 1 to 128 lower-case letters, digits and hyphens", id)
	}
	return nil
}

// bdfForm is a PCI address with its domain, such as 0000:17:00.0.
var bdfForm = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)

// Check says whether the instance could be started at all: id, spec and platform
// present, as many GPUs as the spec says, each a PCI address and none twice. Its
// errors have [ReasonInvalidSpec].
func (in Instance) Check() error {
	err := in.check()
	if err == nil {
		return nil
	}
	return &Error{Reason: ReasonInvalidSpec, Text: "this enclave can't be started as it was asked for", Err: err}
}

func (in Instance) check() error {
	if err := CheckID(in.ID); err != nil {
		return err
	}
	if in.Spec.GetPlatform() == nil {
		return fmt.Errorf("enclave %s: the spec has no platform part", in.ID)
	}
	if uint32(len(in.GPUs)) != in.Spec.GetGpus() { //nolint:gosec // bounded by the claim
		return fmt.Errorf("enclave %s: %d GPUs were claimed, the spec says %d", in.ID, len(in.GPUs), in.Spec.GetGpus())
	}
	for i, bdf := range in.GPUs {
		if !bdfForm.MatchString(bdf) {
			return fmt.Errorf("enclave %s: GPU %.32q is not a PCI address", in.ID, bdf)
		}
		if slices.Contains(in.GPUs[:i], bdf) {
			return fmt.Errorf("enclave %s: GPU %s is given twice", in.ID, bdf)
		}
	}
	return nil
}
