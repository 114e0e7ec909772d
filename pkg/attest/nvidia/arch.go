package nvidia

import (
	"fmt"
	"strings"
)

// Architecture is the family of a device, in the attestation SDK's words.
type Architecture string

// The architectures that can be verified.
const (
	Hopper    Architecture = "HOPPER"
	Blackwell Architecture = "BLACKWELL"
	LS10      Architecture = "LS10"
)

// ParseArchitecture returns the architecture of that exact name.
func ParseArchitecture(s string) (Architecture, error) {
	switch a := Architecture(s); a {
	case Hopper, Blackwell, LS10:
		return a, nil
	}
	return "", fmt.Errorf("architecture %.32q is none of HOPPER, BLACKWELL, LS10", s)
}

// IsSwitch tells whether devices of this architecture are NVSwitches.
func (a Architecture) IsSwitch() bool { return a == LS10 }

// chipArchitecture returns the family of a chip as device certificates name it:
// "GH100", "GB100", "LS_10".
func chipArchitecture(chip string) (Architecture, error) {
	switch {
	case chip == "GH100":
		return Hopper, nil
	case chip == "LS_10":
		return LS10, nil
	case len(chip) == 5 && strings.HasPrefix(chip, "GB"):
		return Blackwell, nil
	}
	return "", fmt.Errorf("the certificate is for a chip %.16q, which is not known", chip)
}

// Mode says how many GPUs share one enclave and how their links are protected,
// from opaque field 36 of the report.
type Mode string

// The modes: one GPU; several GPUs with encrypted NVLink (Blackwell); protected
// PCIe, where the NVSwitches are inside the trust boundary and NVLink is plain
// (Hopper). ModeUnstated is the mode of reports that have neither field.
const (
	ModeSingle        Mode = "spt"
	ModeMulti         Mode = "mpt"
	ModeProtectedPCIe Mode = "ppcie"
	ModeUnstated      Mode = "unstated"
)
