package sevsnp

import "encoding/hex"

// claims writes what the report says into the verdict.
func (j *judge) claims() {
	r, p := j.report, j.facts.ek.product
	text := hex.EncodeToString(j.raw[:offSignature])
	field := func(off, size int) string { return text[2*off : 2*(off+size)] }
	c := j.Claims
	c["product"] = p.String()
	c["report_version"] = r.Version
	c["signing_key"] = r.Signer.Kind().String()
	c["guest_svn"] = r.GuestSVN
	c["vmpl"] = r.VMPL
	c["guest_policy"] = uint64(r.Policy)
	c["platform_info"] = r.PlatformInfo.Names()
	c["measurement"] = field(offMeasurement, 48)
	c["host_data"] = field(offHostData, 32)
	c["report_data"] = field(offReportData, 64)
	c["report_id"] = field(offReportID, 32)
	c["id_key_digest"] = field(offIDKeyDigest, 48)
	c["author_key_digest"] = field(offAuthorKeyDigest, 48)
	c["family_id"] = field(offFamilyID, 16)
	c["image_id"] = field(offImageID, 16)
	c["chip_id"] = field(offChipID, p.chipIDSize())
	c["reported_tcb"] = r.ReportedTCB.Decode(p)
	c["current_tcb"] = r.CurrentTCB.Decode(p)
	c["committed_tcb"] = r.CommittedTCB.Decode(p)
	c["launch_tcb"] = r.LaunchTCB.Decode(p)
	c["firmware"] = r.Current.String()
	c["root"] = j.facts.rootName
	c["root_sha256"] = j.facts.rootSHA256
	if csp := j.facts.ek.cspID; csp != "" {
		c["csp_id"] = csp
	}
}
