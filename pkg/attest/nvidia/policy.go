package nvidia

import "time"

// RIMTime says against which time the certificates of a RIM's signer are judged.
// RIMs carry no time of signing, their signers' certificates live one to two
// years, and NVIDIA doesn't sign a RIM again: most RIMs in use have expired.
type RIMTime string

const (
	// RIMTimeNow wants all certificates valid at the time of the verdict. It is
	// what an empty value means.
	RIMTimeNow RIMTime = "now"
	// RIMTimeSignerExpired wants all but the signer's own certificate valid at that
	// time; the signer's has to have begun. That the RIM was signed while it was
	// valid is not shown by anything.
	RIMTimeSignerExpired RIMTime = "signer_may_have_expired"
	// RIMTimeNotChecked compares no time: only signatures and names.
	RIMTimeNotChecked RIMTime = "not_checked"
)

// ProtectedPCIe says what is asked of GPUs whose NVLinks are not encrypted because
// the NVSwitches belong to the trust boundary (Hopper with eight GPUs).
type ProtectedPCIe string

const (
	// ProtectedPCIeRequired wants it on in all GPUs, and their switches attested.
	ProtectedPCIeRequired ProtectedPCIe = "required"
	// ProtectedPCIeComplete wants the switches attested if it is on.
	ProtectedPCIeComplete ProtectedPCIe = "complete"
	// ProtectedPCIeForbidden wants it off.
	ProtectedPCIeForbidden ProtectedPCIe = "forbidden"
)

// Versions are versions that are accepted, or [AnyVersion]. In YAML they are a list,
// or the word any.
type Versions []string

// anyWord stands for every version.
const anyWord = "any"

// AnyVersion accepts every version, and says so.
func AnyVersion() Versions { return Versions{anyWord} }

func (v Versions) isAny() bool { return len(v) == 1 && v[0] == anyWord }

// Policy is what stands under the key "nvidia" of a policy file. The zero Policy
// checks every signature, chain, identity and agreement, wants RIMs, OCSP responses
// and the caller's nonce to compare with, and the switches of GPUs in protected
// PCIe mode; and it accepts nothing, as the versions of driver and VBIOS have to be
// said. Counts, modes and architectures that are left out are not compared, and
// listed in the verdict's NotPinned.
type Policy struct {
	// Architectures are the families of GPU and switch that may occur.
	Architectures []Architecture `yaml:"architectures,omitempty"`
	// DriverVersions are the GPU driver versions that are accepted. They or
	// MinimumDriver must be said.
	DriverVersions Versions `yaml:"driver_versions,omitempty"`
	// MinimumDriver is the oldest accepted driver, compared number by number.
	MinimumDriver string `yaml:"minimum_driver,omitempty"`
	// VBIOSVersions are the accepted versions of GPU VBIOS and switch BIOS. They must
	// be said.
	VBIOSVersions Versions `yaml:"vbios_versions,omitempty"`
	// Modes are the accepted ways of sharing: spt, mpt, ppcie, unstated.
	Modes []Mode `yaml:"modes,omitempty"`
	// GPUCount and SwitchCount are how many of each there have to be.
	GPUCount    *int `yaml:"gpu_count,omitempty"`
	SwitchCount *int `yaml:"switch_count,omitempty"`
	// ProtectedPCIe is one of required, complete (the default), forbidden.
	ProtectedPCIe ProtectedPCIe `yaml:"protected_pcie,omitempty"`
	// RequireRIMs demands golden measurements for every device; left out, it means
	// true. False never compares them.
	RequireRIMs *bool `yaml:"require_rims,omitempty"`
	// RIMTime is one of now (the default), signer_may_have_expired, not_checked.
	RIMTime RIMTime `yaml:"rim_time,omitempty"`
	// RequireOCSP demands a response for every certificate that can have one; left
	// out, it means true. False never looks.
	RequireOCSP *bool `yaml:"require_ocsp,omitempty"`
	// OCSPGrace is how long after its NextUpdate a response is still believed, as
	// while the responder is out of order: "72h". The verdict says so.
	OCSPGrace time.Duration `yaml:"ocsp_grace,omitempty"`
	// AllowHold accepts certificates that are on hold (a revocation that may be
	// lifted) as if they were good.
	AllowHold bool `yaml:"allow_hold,omitempty"`
	// AllowDebug accepts devices whose certificate says that they are not in
	// production state, and GPUs in developer tools mode insofar as RIMs aren't
	// required. The verdict is then marked insecure.
	AllowDebug bool `yaml:"allow_debug,omitempty"`
	// DeviceRoots and RIMRoots name roots other than NVIDIA's by the SHA-256 of the
	// certificate, lower-case hex. Evidence under them proves nothing about
	// hardware: the verdict is marked insecure.
	DeviceRoots []string `yaml:"device_roots,omitempty"`
	RIMRoots    []string `yaml:"rim_roots,omitempty"`

	// PermitUnpinned accepts evidence although versions are not said, or nonce, RIMs,
	// OCSP responses or the switches of some GPUs by themselves were not handed in, and
	// lists what was not compared in the verdict. What is handed in is compared. It can't be set in a
	// file: it is for commands that only look.
	PermitUnpinned bool `yaml:"-"`
}
