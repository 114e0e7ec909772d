package sevsnp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ReportSize is the size in bytes of an attestation report (ABI table 23,
// ATTESTATION_REPORT structure).
const ReportSize = 0x4A0

// The report versions this package knows (ABI table 23, VERSION).
const (
	MinReportVersion = 2
	MaxReportVersion = 5
)

// Offsets into the report (ABI table 23).
const (
	offVersion         = 0x000
	offGuestSVN        = 0x004
	offPolicy          = 0x008
	offFamilyID        = 0x010
	offImageID         = 0x020
	offVMPL            = 0x030
	offSignatureAlgo   = 0x034
	offCurrentTCB      = 0x038
	offPlatformInfo    = 0x040
	offSignerInfo      = 0x048
	offReserved4C      = 0x04C
	offReportData      = 0x050
	offMeasurement     = 0x090
	offHostData        = 0x0C0
	offIDKeyDigest     = 0x0E0
	offAuthorKeyDigest = 0x110
	offReportID        = 0x140
	offReportIDMA      = 0x160
	offReportedTCB     = 0x180
	offFamily          = 0x188 // versions 3 and later
	offModel           = 0x189
	offStepping        = 0x18A
	offReserved18B     = 0x18B
	offChipID          = 0x1A0
	offCommittedTCB    = 0x1E0
	offCurrentBuild    = 0x1E8
	offCommittedBuild  = 0x1EC
	offLaunchTCB       = 0x1F0
	offLaunchMit       = 0x1F8 // version 5
	offCurrentMit      = 0x200
	offReserved208     = 0x208
	offSignature       = 0x2A0 // bytes before this one are signed
	offSignatureS      = offSignature + signatureComponentSize
	offSignatureEnd    = offSignature + 2*signatureComponentSize
)

// signatureComponentSize is the size of R and of S, little-endian and zero-extended
// (ABI table 140, signature format for ECDSA P-384 with SHA-384).
const signatureComponentSize = 72

// algoECDSAP384SHA384 is the only signature algorithm of reports (ABI table 138).
const algoECDSAP384SHA384 = 1

// ErrReportVersion tells that a report has a version this package doesn't know.
var ErrReportVersion = errors.New("unknown report version")

// Report is a parsed attestation report. Its fields mean something only once the
// signature has been verified.
type Report struct {
	Version         uint32
	GuestSVN        uint32
	Policy          GuestPolicy
	FamilyID        [16]byte
	ImageID         [16]byte
	VMPL            uint32
	SignatureAlgo   uint32
	CurrentTCB      RawTCB
	PlatformInfo    PlatformInfo
	Signer          SignerInfo
	ReportData      [64]byte
	Measurement     [48]byte
	HostData        [32]byte
	IDKeyDigest     [48]byte
	AuthorKeyDigest [48]byte
	ReportID        [32]byte
	ReportIDMA      [32]byte
	ReportedTCB     RawTCB
	// Family, Model and Stepping are the CPU's, combined with the extended parts;
	// zero in version 2.
	Family, Model, Stepping uint8
	ChipID                  [64]byte
	CommittedTCB            RawTCB
	Current, Committed      FirmwareVersion
	LaunchTCB               RawTCB
	// LaunchMitigations and CurrentMitigations are bit vectors; zero before version 5.
	LaunchMitigations, CurrentMitigations uint64
}

// FirmwareVersion is the version of the SNP firmware.
type FirmwareVersion struct{ Major, Minor, Build uint8 }

// String returns major.minor.build.
func (f FirmwareVersion) String() string {
	return fmt.Sprintf("%d.%d.%d", f.Major, f.Minor, f.Build)
}

// ParseReport reads a report of exactly ReportSize bytes, and refuses unknown
// versions ([ErrReportVersion]), reserved bits and bytes that aren't zero, and
// values that the specification reserves. It checks no signature.
func ParseReport(raw []byte) (*Report, error) {
	if len(raw) != ReportSize {
		return nil, fmt.Errorf("report has %d bytes, want %d", len(raw), ReportSize)
	}
	r := new(Report)
	r.Version = binary.LittleEndian.Uint32(raw[offVersion:])
	if r.Version < MinReportVersion || r.Version > MaxReportVersion {
		return nil, fmt.Errorf("%w %d, want %d to %d", ErrReportVersion, r.Version, MinReportVersion, MaxReportVersion)
	}
	if err := checkReserved(raw, r.Version); err != nil {
		return nil, err
	}
	r.readHead(raw)
	r.readTail(raw)
	if err := r.Policy.check(); err != nil {
		return nil, err
	}
	return r, r.Signer.check()
}

func (r *Report) readHead(raw []byte) {
	r.GuestSVN = binary.LittleEndian.Uint32(raw[offGuestSVN:])
	r.Policy = GuestPolicy(binary.LittleEndian.Uint64(raw[offPolicy:]))
	copy(r.FamilyID[:], raw[offFamilyID:])
	copy(r.ImageID[:], raw[offImageID:])
	r.VMPL = binary.LittleEndian.Uint32(raw[offVMPL:])
	r.SignatureAlgo = binary.LittleEndian.Uint32(raw[offSignatureAlgo:])
	r.CurrentTCB = RawTCB(raw[offCurrentTCB : offCurrentTCB+8])
	r.PlatformInfo = PlatformInfo(binary.LittleEndian.Uint64(raw[offPlatformInfo:]))
	r.Signer = SignerInfo(binary.LittleEndian.Uint32(raw[offSignerInfo:]))
	copy(r.ReportData[:], raw[offReportData:])
	copy(r.Measurement[:], raw[offMeasurement:])
	copy(r.HostData[:], raw[offHostData:])
	copy(r.IDKeyDigest[:], raw[offIDKeyDigest:])
	copy(r.AuthorKeyDigest[:], raw[offAuthorKeyDigest:])
}

func (r *Report) readTail(raw []byte) {
	copy(r.ReportID[:], raw[offReportID:])
	copy(r.ReportIDMA[:], raw[offReportIDMA:])
	r.ReportedTCB = RawTCB(raw[offReportedTCB : offReportedTCB+8])
	r.Family, r.Model, r.Stepping = raw[offFamily], raw[offModel], raw[offStepping]
	copy(r.ChipID[:], raw[offChipID:])
	r.CommittedTCB = RawTCB(raw[offCommittedTCB : offCommittedTCB+8])
	r.Current = FirmwareVersion{raw[offCurrentBuild+2], raw[offCurrentBuild+1], raw[offCurrentBuild]}
	r.Committed = FirmwareVersion{raw[offCommittedBuild+2], raw[offCommittedBuild+1], raw[offCommittedBuild]}
	r.LaunchTCB = RawTCB(raw[offLaunchTCB : offLaunchTCB+8])
	r.LaunchMitigations = binary.LittleEndian.Uint64(raw[offLaunchMit:])
	r.CurrentMitigations = binary.LittleEndian.Uint64(raw[offCurrentMit:])
}

// checkReserved refuses reserved bytes that aren't zero: CPUID's bytes are reserved
// before version 3, the mitigation vectors before version 5.
func checkReserved(raw []byte, version uint32) error {
	cpuidEnd, mitStart := offReserved18B, offReserved208
	if version < 3 {
		cpuidEnd = offFamily
	}
	if version < 5 {
		mitStart = offLaunchMit
	}
	for _, span := range [...][2]int{
		{offReserved4C, offReportData}, {cpuidEnd, offChipID},
		{offCurrentBuild + 3, offCommittedBuild}, {offCommittedBuild + 3, offLaunchTCB},
		{mitStart, offSignature}, {offSignatureEnd, ReportSize},
	} {
		for i := span[0]; i < span[1]; i++ {
			if raw[i] != 0 {
				return fmt.Errorf("reserved byte 0x%x is 0x%02x, want 0 in a version %d report", i, raw[i], version)
			}
		}
	}
	return nil
}
