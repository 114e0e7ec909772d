package tdx

// policyPin is one key of a policy and the size of its values in bytes.
type policyPin struct {
	name string
	size int
	pin  func(*Policy) *Pin
}

// policyPins are all keys that take values, in the order in which a verdict lists
// those left out.
var policyPins = []policyPin{
	{"mr_td", 48, func(p *Policy) *Pin { return &p.MRTD }},
	{"rtmr0", 48, func(p *Policy) *Pin { return &p.RTMR0 }},
	{"rtmr1", 48, func(p *Policy) *Pin { return &p.RTMR1 }},
	{"rtmr2", 48, func(p *Policy) *Pin { return &p.RTMR2 }},
	{"rtmr3", 48, func(p *Policy) *Pin { return &p.RTMR3 }},
	{"mr_config_id", 48, func(p *Policy) *Pin { return &p.MRConfigID }},
	{"mr_owner", 48, func(p *Policy) *Pin { return &p.MROwner }},
	{"mr_owner_config", 48, func(p *Policy) *Pin { return &p.MROwnerConfig }},
	{"report_data", 64, func(p *Policy) *Pin { return &p.ReportData }},
	{"mr_seam", 48, func(p *Policy) *Pin { return &p.MRSEAM }},
	{"mr_signer_seam", 48, func(p *Policy) *Pin { return &p.MRSignerSEAM }},
	{"seam_attributes", 8, func(p *Policy) *Pin { return &p.SEAMAttributes }},
	{"td_attributes", 8, func(p *Policy) *Pin { return &p.TDAttributes }},
	{"xfam", 8, func(p *Policy) *Pin { return &p.XFAM }},
	{"mr_service_td", 48, func(p *Policy) *Pin { return &p.MRServiceTD }},
	{"fmspc", 6, func(p *Policy) *Pin { return &p.FMSPC }},
	{"ppid", 16, func(p *Policy) *Pin { return &p.PPID }},
	{"qe_vendor_id", 16, func(p *Policy) *Pin { return &p.QEVendorID }},
	{"minimum_tee_tcb_svn", 16, func(p *Policy) *Pin { return &p.MinimumTEETCBSVN }},
}

// bodyCheck is one field of the report that a policy speaks of.
type bodyCheck struct {
	name  string
	pin   func(*Policy) *Pin
	value func(*Body) []byte
	// bound fields must be named by a policy under AbsentRefused.
	bound bool
	// rule judges the field when the policy doesn't pin it; fixed rules leave one
	// value, so that the field counts as pinned.
	rule  func(value []byte, strict bool) error
	fixed bool
}

// bodyChecks are made in this order.
var bodyChecks = []bodyCheck{
	{name: "td_attributes", pin: func(p *Policy) *Pin { return &p.TDAttributes }, value: func(b *Body) []byte { return b.TDAttributes[:] }, rule: checkTDAttributes},
	{name: "xfam", pin: func(p *Policy) *Pin { return &p.XFAM }, value: func(b *Body) []byte { return b.XFAM[:] }, rule: checkXFAM},
	{name: "seam_attributes", pin: func(p *Policy) *Pin { return &p.SEAMAttributes }, value: func(b *Body) []byte { return b.SEAMAttributes[:] }, rule: checkZero, fixed: true},
	{name: "mr_seam", pin: func(p *Policy) *Pin { return &p.MRSEAM }, value: func(b *Body) []byte { return b.MRSEAM[:] }},
	{name: "mr_signer_seam", pin: func(p *Policy) *Pin { return &p.MRSignerSEAM }, value: func(b *Body) []byte { return b.MRSignerSEAM[:] }, rule: checkZero, fixed: true},
	{name: "mr_td", pin: func(p *Policy) *Pin { return &p.MRTD }, value: func(b *Body) []byte { return b.MRTD[:] }, bound: true},
	{name: "rtmr0", pin: func(p *Policy) *Pin { return &p.RTMR0 }, value: func(b *Body) []byte { return b.RTMR[0][:] }, bound: true},
	{name: "rtmr1", pin: func(p *Policy) *Pin { return &p.RTMR1 }, value: func(b *Body) []byte { return b.RTMR[1][:] }, bound: true},
	{name: "rtmr2", pin: func(p *Policy) *Pin { return &p.RTMR2 }, value: func(b *Body) []byte { return b.RTMR[2][:] }, bound: true},
	{name: "rtmr3", pin: func(p *Policy) *Pin { return &p.RTMR3 }, value: func(b *Body) []byte { return b.RTMR[3][:] }, bound: true},
	{name: "mr_config_id", pin: func(p *Policy) *Pin { return &p.MRConfigID }, value: func(b *Body) []byte { return b.MRConfigID[:] }, bound: true},
	{name: "mr_owner", pin: func(p *Policy) *Pin { return &p.MROwner }, value: func(b *Body) []byte { return b.MROwner[:] }, bound: true},
	{name: "mr_owner_config", pin: func(p *Policy) *Pin { return &p.MROwnerConfig }, value: func(b *Body) []byte { return b.MROwnerConfig[:] }, bound: true},
	{name: "mr_service_td", pin: func(p *Policy) *Pin { return &p.MRServiceTD }, value: serviceTD, rule: checkZero, fixed: true},
	{name: "report_data", pin: func(p *Policy) *Pin { return &p.ReportData }, value: func(b *Body) []byte { return b.ReportData[:] }, bound: true},
}

// serviceTD returns MRSERVICETD, which only TD reports of module 1.5 have.
func serviceTD(b *Body) []byte {
	if b.Type != bodyTypeTD15 {
		return nil
	}
	return b.MRServiceTD[:]
}
