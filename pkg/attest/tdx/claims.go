package tdx

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// claim records what the quote and the collateral say. Times are RFC 3339, byte
// strings lower-case hexadecimal.
func (s *session) claim() {
	c := s.verdict.Claims
	s.claimBody(c)
	if s.chain != nil {
		s.claimPlatform(c)
	}
	if s.result != nil {
		s.claimTCB(c)
	}
	if s.tcb != nil && s.qe != nil {
		c["tcb_evaluation_data_number"] = s.tcb.tcbInfo.evaluation
		c["tcb_info_issue_date"], c["tcb_info_next_update"] = rfc3339(s.tcb.tcbInfo.window.from), rfc3339(s.tcb.tcbInfo.window.until)
		c["qe_identity_evaluation_data_number"] = s.qe.qeIdentity.evaluation
		c["qe_identity_issue_date"], c["qe_identity_next_update"] = rfc3339(s.qe.qeIdentity.window.from), rfc3339(s.qe.qeIdentity.window.until)
		c["collateral_stale"] = s.stale
	}
}

func (s *session) claimBody(c map[string]any) {
	b := &s.q.Body
	signed := sha256.Sum256(s.q.Signed)
	c["quote_version"], c["body_type"] = s.q.Header.Version, b.Type
	c["signed_digest"] = hex.EncodeToString(signed[:])
	c["qe_vendor_id"] = hex.EncodeToString(s.q.Header.QEVendorID[:])
	c["user_data"] = hex.EncodeToString(s.q.Header.UserData[:])
	c["tee_tcb_svn"] = hex.EncodeToString(b.TEETCBSVN[:])
	for i := range bodyChecks {
		if v := bodyChecks[i].value(b); v != nil {
			c[bodyChecks[i].name] = hex.EncodeToString(v)
		}
	}
	if b.Type == bodyTypeTD15 {
		c["tee_tcb_svn_2"] = hex.EncodeToString(b.TEETCBSVN2[:])
	}
	c["qe_isv_svn"] = s.q.QEReport.ISVSVN
	c["qe_mr_enclave"] = hex.EncodeToString(s.q.QEReport.MREnclave[:])
	c["trailing_bytes"] = s.q.Trailing
}

func (s *session) claimPlatform(c map[string]any) {
	x := &s.chain.ext
	c["fmspc"], c["pceid"] = hex.EncodeToString(x.FMSPC[:]), hex.EncodeToString(x.PCEID[:])
	c["ppid"] = hex.EncodeToString(x.PPID[:])
	c["platform_instance_id"] = hex.EncodeToString(x.PlatformInstanceID[:])
	c["pce_svn"], c["cpu_svn"] = x.PCESVN, hex.EncodeToString(x.CPUSVN[:])
	c["sgx_component_svns"] = hex.EncodeToString(x.ComponentSVNs[:])
	c["pck_serial"] = s.chain.leaf.SerialNumber.Text(16)
	c["pck_ca"] = s.chain.ca.Subject.CommonName
}

func (s *session) claimTCB(c map[string]any) {
	r := s.result
	c["tcb_status"] = string(r.status)
	c["platform_tcb_status"], c["platform_tcb_date"] = string(r.platform), rfc3339(r.date)
	c["module_tcb_status"], c["qe_tcb_status"] = string(r.module), string(r.qe)
	if !r.moduleDate.IsZero() {
		c["module_tcb_date"] = rfc3339(r.moduleDate)
	}
	c["qe_tcb_date"] = rfc3339(r.qeDate)
	// The date of the whole is that of its oldest part.
	date := r.date
	for _, d := range []time.Time{r.moduleDate, r.qeDate} {
		if !d.IsZero() && d.Before(date) {
			date = d
		}
	}
	c["tcb_date"] = rfc3339(date)
	c["advisory_ids"] = append([]string{}, r.advisories...)
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
