package tdx

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// namedClaim is one entry of a verdict's claims.
type namedClaim struct {
	name  string
	value any
}

// claim records what the quote and the collateral say. Times are RFC 3339, byte
// strings lower-case hexadecimal.
func (s *session) claim() {
	c := s.verdict.Claims
	s.claimBody(c)
	if s.chain != nil {
		record(c, s.chain.claims)
	}
	if s.result != nil {
		s.claimTCB(c)
	}
	if s.tcb != nil && s.qe != nil {
		record(c, s.tcb.claims)
		record(c, s.qe.claims)
		c["collateral_stale"] = s.stale
	}
}

func record(c map[string]any, claims []namedClaim) {
	for _, n := range claims {
		c[n.name] = n.value
	}
}

func (s *session) claimBody(c map[string]any) {
	b := &s.q.Body
	signed := sha256.Sum256(s.q.Signed)
	var list hexList
	list.add("signed_digest", signed[:])
	list.add("qe_vendor_id", s.q.Header.QEVendorID[:])
	list.add("user_data", s.q.Header.UserData[:])
	list.add("tee_tcb_svn", b.TEETCBSVN[:])
	list.add("qe_mr_enclave", s.q.QEReport.MREnclave[:])
	for i := range bodyChecks {
		if v := bodyChecks[i].value(b); v != nil {
			list.add(bodyChecks[i].name, v)
		}
	}
	if b.Type == bodyTypeTD15 {
		list.add("tee_tcb_svn_2", b.TEETCBSVN2[:])
	}
	record(c, list.claims())
	c["quote_version"], c["body_type"] = s.q.Header.Version, b.Type
	c["qe_isv_svn"] = s.q.QEReport.ISVSVN
	c["trailing_bytes"] = s.q.Trailing
}

// platformClaims are what the PCK certificate says.
func (c *pckChain) platformClaims() []namedClaim {
	x := &c.ext
	var list hexList
	list.add("fmspc", x.FMSPC[:])
	list.add("pceid", x.PCEID[:])
	list.add("ppid", x.PPID[:])
	list.add("platform_instance_id", x.PlatformInstanceID[:])
	list.add("cpu_svn", x.CPUSVN[:])
	list.add("sgx_component_svns", x.ComponentSVNs[:])
	return append(list.claims(),
		namedClaim{"pce_svn", x.PCESVN},
		namedClaim{"pck_serial", c.leaf.SerialNumber.Text(16)},
		namedClaim{"pck_ca", c.ca.Subject.CommonName},
	)
}

// documentClaims are which edition of a document was used.
func documentClaims(document string, evaluation uint32, evaluationName string, w window) []namedClaim {
	return []namedClaim{
		{evaluationName, evaluation},
		{document + "_issue_date", rfc3339(w.from)},
		{document + "_next_update", rfc3339(w.until)},
	}
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

// hexList writes many byte strings in hexadecimal digits into one string and cuts
// it: a verdict has some thirty of them.
type hexList struct {
	names [24]string
	ends  [24]int
	n     int
	text  []byte
}

func (l *hexList) add(name string, value []byte) {
	if l.text == nil {
		l.text = make([]byte, 0, 2048)
	}
	l.text = hex.AppendEncode(l.text, value)
	l.names[l.n], l.ends[l.n] = name, len(l.text)
	l.n++
}

func (l *hexList) claims() []namedClaim {
	all, start := string(l.text), 0
	out := make([]namedClaim, l.n, l.n+3)
	for i := range out {
		out[i] = namedClaim{l.names[i], all[start:l.ends[i]]}
		start = l.ends[i]
	}
	return out
}
