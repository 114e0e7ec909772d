package sevsnp

import "encoding/binary"

// Marshal writes the report's fields in their places, with every reserved byte zero
// and no signature. ParseReport reads it back if the fields make sense.
func (r *Report) Marshal() []byte {
	raw := make([]byte, ReportSize)
	binary.LittleEndian.PutUint32(raw[offVersion:], r.Version)
	binary.LittleEndian.PutUint32(raw[offGuestSVN:], r.GuestSVN)
	binary.LittleEndian.PutUint64(raw[offPolicy:], uint64(r.Policy))
	copy(raw[offFamilyID:], r.FamilyID[:])
	copy(raw[offImageID:], r.ImageID[:])
	binary.LittleEndian.PutUint32(raw[offVMPL:], r.VMPL)
	binary.LittleEndian.PutUint32(raw[offSignatureAlgo:], r.SignatureAlgo)
	copy(raw[offCurrentTCB:], r.CurrentTCB[:])
	binary.LittleEndian.PutUint64(raw[offPlatformInfo:], uint64(r.PlatformInfo))
	binary.LittleEndian.PutUint32(raw[offSignerInfo:], uint32(r.Signer))
	copy(raw[offReportData:], r.ReportData[:])
	copy(raw[offMeasurement:], r.Measurement[:])
	copy(raw[offHostData:], r.HostData[:])
	copy(raw[offIDKeyDigest:], r.IDKeyDigest[:])
	copy(raw[offAuthorKeyDigest:], r.AuthorKeyDigest[:])
	copy(raw[offReportID:], r.ReportID[:])
	copy(raw[offReportIDMA:], r.ReportIDMA[:])
	copy(raw[offReportedTCB:], r.ReportedTCB[:])
	raw[offFamily], raw[offModel], raw[offStepping] = r.Family, r.Model, r.Stepping
	copy(raw[offChipID:], r.ChipID[:])
	copy(raw[offCommittedTCB:], r.CommittedTCB[:])
	r.Current.put(raw[offCurrentBuild:])
	r.Committed.put(raw[offCommittedBuild:])
	copy(raw[offLaunchTCB:], r.LaunchTCB[:])
	binary.LittleEndian.PutUint64(raw[offLaunchMit:], r.LaunchMitigations)
	binary.LittleEndian.PutUint64(raw[offCurrentMit:], r.CurrentMitigations)
	return raw
}

func (f FirmwareVersion) put(b []byte) { b[0], b[1], b[2] = f.Build, f.Minor, f.Major }
