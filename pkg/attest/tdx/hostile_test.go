package tdx_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

func TestSyntheticEvidenceIsAccepted(t *testing.T) {
	for name, kind := range map[string][2]uint16{"v4": {4, 2}, "v5 with TD 1.0": {5, 2}, "v5 with TD 1.5": {5, 3}} {
		t.Run(name, func(t *testing.T) {
			verdict := newScene(t, kind[0], kind[1]).run(t)
			mustAccept(t, verdict)
			if len(verdict.Insecure) != 1 || verdict.Insecure[0] != tdx.MarkForeignRoot {
				t.Errorf("marks are %v, expected %s", verdict.Insecure, tdx.MarkForeignRoot)
			}
		})
	}
}

// hostileCase is evidence that is wrong in one thing, which must be refused for
// that thing and no other.
type hostileCase struct {
	name   string
	kind   [2]uint16 // quote version and body type; zero means 4, 2
	change func(t *testing.T, s *scene)
	fails  []string
}

func runHostile(t *testing.T, cases []hostileCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			kind := c.kind
			if kind == [2]uint16{} {
				kind = [2]uint16{4, 2}
			}
			s := newScene(t, kind[0], kind[1])
			c.change(t, s)
			mustRefuse(t, s.run(t), c.fails...)
		})
	}
}

// after changes the finished quote.
func after(change func(raw []byte)) func(*testing.T, *scene) {
	return func(_ *testing.T, s *scene) { s.quote.AfterSigning = change }
}

func TestHostileQuoteIsRefused(t *testing.T) {
	runHostile(t, []hostileCase{
		{name: "version 3", change: after(func(q []byte) { q[0] = 3 }), fails: []string{"quote_version"}},
		{name: "SGX instead of TDX", change: after(func(q []byte) { q[4] = 0 }), fails: []string{"quote_version"}},
		{name: "attestation key of type 3", change: after(func(q []byte) { q[2] = 3 }), fails: []string{"quote_version"}},
		{name: "body type 1 in version 5", kind: [2]uint16{5, 2}, change: after(func(q []byte) { q[48] = 1 }), fails: []string{"quote_version"}},
		{name: "body size of the other type", kind: [2]uint16{5, 3}, change: after(func(q []byte) { q[48] = 2 }), fails: []string{"quote_format"}},
		{name: "signature data longer than the quote", change: after(func(q []byte) { q[635] = 0x7f }), fails: []string{"quote_format"}},
		{name: "certification data of another type", change: after(func(q []byte) { q[764] = 5 }), fails: []string{"quote_format"}},
		{name: "auth data length that swallows the chain", change: after(func(q []byte) { binary.LittleEndian.PutUint16(q[1218:], 0xffff) }), fails: []string{"quote_format"}},
		{name: "foreign QE vendor", change: func(_ *testing.T, s *scene) { s.quote.Header.QEVendorID[0]++ }, fails: []string{"qe_vendor_id"}},
		{name: "measurement changed after signing", change: after(func(q []byte) { q[48+136]++ }), fails: []string{"quote_signature"}},
		{name: "report data changed after signing", change: after(func(q []byte) { q[48+520]++ }), fails: []string{"quote_signature"}},
		{name: "user data in the header changed", change: after(func(q []byte) { q[28]++ }), fails: []string{"quote_signature"}},
		{name: "body descriptor of version 5 not signed over", kind: [2]uint16{5, 3}, change: after(func(q []byte) { q[54]++ }), fails: []string{"quote_signature"}},
		{name: "signature of zeros", change: after(func(q []byte) { clear(q[636:700]) }), fails: []string{"quote_signature"}},
		{name: "attestation key of somebody else", change: func(t *testing.T, s *scene) {
			other := quoteOf(s)
			s.quote.AfterSigning = func(q []byte) { copy(q[636:764], other[636:764]) } // its signature and key
		}, fails: []string{"qe_report_data_binding"}},
		{name: "attestation key that is no point of the curve", change: func(_ *testing.T, s *scene) {
			s.quote.AfterSigning = func(q []byte) { clear(q[700:764]) }
		}, fails: []string{"qe_report_data_binding", "quote_signature"}},
		{name: "binding followed by something", change: func(_ *testing.T, s *scene) {
			s.quote.BeforeSigning = func(r *tdx.QEReport) { r.ReportData[63] = 1 }
		}, fails: []string{"qe_report_data_binding"}},
		{name: "auth data changed", change: after(func(q []byte) { q[1220]++ }), fails: []string{"qe_report_data_binding"}},
		{name: "QE report signed by another key", change: func(t *testing.T, s *scene) {
			other := must(s.pki.NewPlatform(s.ext))
			s.quote.Chain = other.Chain
		}, fails: []string{"qe_report_signature"}},
	})
}

func TestHostileChainIsRefused(t *testing.T) {
	shaped := func(shape ...func(*x509.Certificate)) func(*testing.T, *scene) {
		return func(t *testing.T, s *scene) { s.platform = must(s.pki.NewPlatform(s.ext, shape...)) }
	}
	runHostile(t, []hostileCase{
		{name: "a root of the attacker's", change: func(t *testing.T, s *scene) {
			other := must(tdxtest.NewPKI(testTime))
			s.platform = must(other.NewPlatform(s.ext))
		}, fails: []string{"pck_chain"}},
		{name: "a CA of the attacker's under the true root's name", change: func(t *testing.T, s *scene) {
			other := must(tdxtest.NewPKI(testTime))
			s.platform = must(other.NewPlatform(s.ext))
			s.platform.Chain = tdxtest.ChainPEM(s.platform.PCK.Cert, other.PCKCA.Cert, s.pki.Root.Cert)
		}, fails: []string{"pck_chain"}},
		{name: "PCK issued by the TCB signing certificate", change: func(t *testing.T, s *scene) {
			forged := *s.pki
			forged.PCKCA = s.pki.TCBSigning
			s.platform = must(forged.NewPlatform(s.ext))
		}, fails: []string{"pck_chain"}},
		{name: "intermediate that is no PCK CA", change: func(t *testing.T, s *scene) {
			forged := *s.pki
			forged.PCKCA = must(s.pki.Issue(s.pki.Root, "Intel SGX Other CA", tdxtest.CA))
			s.platform = must(forged.NewPlatform(s.ext))
		}, fails: []string{"pck_chain"}},
		{name: "chain of two", change: func(t *testing.T, s *scene) {
			s.platform = must(s.pki.NewPlatform(s.ext))
			s.platform.Chain = tdxtest.ChainPEM(s.platform.PCK.Cert, s.pki.PCKCA.Cert)
		}, fails: []string{"pck_chain"}},
		{name: "chain of four", change: func(t *testing.T, s *scene) {
			s.platform = must(s.pki.NewPlatform(s.ext))
			s.platform.Chain = tdxtest.ChainPEM(s.platform.PCK.Cert, s.pki.PCKCA.Cert, s.pki.PCKCA.Cert, s.pki.Root.Cert)
		}, fails: []string{"pck_chain"}},
		{name: "chain in another order", change: func(t *testing.T, s *scene) {
			s.platform = must(s.pki.NewPlatform(s.ext))
			s.platform.Chain = tdxtest.ChainPEM(s.pki.Root.Cert, s.pki.PCKCA.Cert, s.platform.PCK.Cert)
		}, fails: []string{"pck_chain"}},
		{name: "text between the certificates", change: func(t *testing.T, s *scene) {
			s.platform = must(s.pki.NewPlatform(s.ext))
			s.platform.Chain = append([]byte("x\n"), s.platform.Chain...)
		}, fails: []string{"pck_chain"}},
		{name: "PCK without the SGX extension", change: func(t *testing.T, s *scene) {
			s.platform = must(s.pki.NewPlatform(s.ext, func(c *x509.Certificate) { c.ExtraExtensions = nil }))
		}, fails: []string{"pck_chain"}},
		{name: "PCK with another subject", change: shaped(func(c *x509.Certificate) { c.Subject.CommonName = "Intel SGX Something" }), fails: []string{"pck_chain"}},
		{name: "PCK that is a CA", change: shaped(tdxtest.CA), fails: []string{"pck_chain"}},
		{name: "PCK with an unknown critical extension", change: shaped(func(c *x509.Certificate) {
			e := c.ExtraExtensions[0]
			e.Id, e.Critical = asn1.ObjectIdentifier{1, 2, 3, 4}, true
			c.ExtraExtensions = append(c.ExtraExtensions, e)
		}), fails: []string{"pck_chain"}},
		{name: "PCK that has ended", change: shaped(func(c *x509.Certificate) { c.NotAfter = testTime.Add(-time.Second) }), fails: []string{"pck_validity"}},
		{name: "PCK that has not begun", change: shaped(func(c *x509.Certificate) { c.NotBefore = testTime.Add(time.Second) }), fails: []string{"pck_validity"}},
		{name: "revoked PCK", change: func(t *testing.T, s *scene) {
			s.platform = must(s.pki.NewPlatform(s.ext))
			s.collateral.RevokedPCK = []*big.Int{s.platform.PCK.Cert.SerialNumber}
		}, fails: []string{"revocation"}},
		{name: "revoked PCK CA", change: func(_ *testing.T, s *scene) {
			s.collateral.RevokedByRoot = []*big.Int{s.pki.PCKCA.Cert.SerialNumber}
		}, fails: []string{"revocation"}},
		{name: "revoked TCB signing certificate", change: func(_ *testing.T, s *scene) {
			s.collateral.RevokedByRoot = []*big.Int{s.pki.TCBSigning.Cert.SerialNumber}
		}, fails: []string{"revocation"}},
	})
}

func TestHostileCollateralIsRefused(t *testing.T) {
	signed := func(change func(*tdx.Collateral)) func(*testing.T, *scene) {
		return func(_ *testing.T, s *scene) { s.signed = change }
	}
	other := must(tdxtest.NewPKI(testTime))
	foreign := must(other.Collateral(tdxtest.NewCollateral(testTime)))
	runHostile(t, []hostileCase{
		{name: "no PCK CRL", change: signed(func(c *tdx.Collateral) { c.PCKCRL = nil }), fails: []string{"collateral"}},
		{name: "root CRL of another root", change: signed(func(c *tdx.Collateral) { c.RootCRL = foreign.RootCRL }), fails: []string{"root_crl"}},
		{name: "PCK CRL instead of the root CRL", change: signed(func(c *tdx.Collateral) { c.RootCRL = c.PCKCRL }), fails: []string{"root_crl"}},
		{name: "root CRL instead of the PCK CRL", change: signed(func(c *tdx.Collateral) { c.PCKCRL = c.RootCRL }), fails: []string{"pck_crl"}},
		{name: "PCK CRL of another CA", change: signed(func(c *tdx.Collateral) { c.PCKCRL = foreign.PCKCRL }), fails: []string{"pck_crl"}},
		{name: "PCK CRL chain of another CA", change: signed(func(c *tdx.Collateral) { c.PCKCRLChain = foreign.PCKCRLChain }), fails: []string{"pck_crl"}},
		{name: "TCB info changed", change: signed(func(c *tdx.Collateral) {
			c.TCBInfo = bytes.Replace(c.TCBInfo, []byte("OutOfDate"), []byte("UpToDate"), 1)
		}), fails: []string{"tcb_info_signature"}},
		{name: "TCB info signed under another root", change: signed(func(c *tdx.Collateral) { c.TCBInfo, c.TCBInfoChain = foreign.TCBInfo, foreign.TCBInfoChain }), fails: []string{"tcb_info_signature"}},
		{name: "TCB info signed by the PCK CA", change: func(t *testing.T, s *scene) {
			forged := *s.pki
			forged.TCBSigning = s.pki.PCKCA
			doc := must(forged.SignDocument("tcbInfo", s.collateral.TCBInfo))
			s.signed = func(c *tdx.Collateral) { c.TCBInfo, c.TCBInfoChain = doc, c.PCKCRLChain }
		}, fails: []string{"tcb_info_signature"}},
		{name: "QE identity instead of TCB info", change: signed(func(c *tdx.Collateral) { c.TCBInfo = c.QEIdentity }), fails: []string{"tcb_info_signature"}},
		{name: "signed TCB info for SGX", change: func(_ *testing.T, s *scene) { s.collateral.TCBInfo["id"] = "SGX" }, fails: []string{"tcb_info_signature"}},
		{name: "signed QE identity of the SGX enclave", change: func(_ *testing.T, s *scene) { s.collateral.QEIdentity["id"] = "QE" }, fails: []string{"qe_identity_signature"}},
		{name: "a second member in the envelope", change: signed(func(c *tdx.Collateral) {
			c.QEIdentity = append([]byte(`{"enclaveIdentity":{},`), c.QEIdentity[1:]...)
		}), fails: []string{"qe_identity_signature"}},
		{name: "TCB info that has ended", change: func(_ *testing.T, s *scene) {
			s.collateral.TCBInfo["nextUpdate"] = testTime.Add(-time.Second).Format(time.RFC3339)
		}, fails: []string{"collateral_freshness"}},
		{name: "QE identity from the future", change: func(_ *testing.T, s *scene) {
			s.collateral.QEIdentity["issueDate"] = testTime.Add(time.Second).Format(time.RFC3339)
		}, fails: []string{"collateral_freshness"}},
		{name: "lists that have ended", change: func(_ *testing.T, s *scene) { s.collateral.NextUpdate = testTime.Add(-time.Second) }, fails: []string{"collateral_freshness"}},
		{name: "TCB info of another FMSPC", change: func(_ *testing.T, s *scene) { s.collateral.TCBInfo["fmspc"] = "B0C06F000001" }, fails: []string{"fmspc"}},
		{name: "TCB info of another PCE", change: func(_ *testing.T, s *scene) { s.collateral.TCBInfo["pceId"] = "0001" }, fails: []string{"fmspc"}},
		{name: "collateral from before a TCB recovery", change: func(_ *testing.T, s *scene) { s.policy.MinimumTCBEvaluationDataNumber = 18 }, fails: []string{"minimum_tcb_evaluation_data_number"}},
		{name: "no signing chain under a foreign root", change: signed(func(c *tdx.Collateral) { c.TCBInfoChain, c.QEIdentityChain = nil, nil }), fails: []string{"tcb_info_signature", "qe_identity_signature"}},
	})
}

func TestHostilePlatformIsRefused(t *testing.T) {
	runHostile(t, []hostileCase{
		{name: "quoting enclave of another signer", change: func(_ *testing.T, s *scene) { s.quote.QEReport.MRSigner[0]++ }, fails: []string{"qe_identity"}},
		{name: "another enclave of the same signer", change: func(_ *testing.T, s *scene) { s.quote.QEReport.ISVProdID = 1 }, fails: []string{"qe_identity"}},
		{name: "quoting enclave in debug mode", change: func(_ *testing.T, s *scene) { s.quote.QEReport.Attributes[0] |= 2 }, fails: []string{"qe_identity"}},
		{name: "quoting enclave with MISCSELECT", change: func(_ *testing.T, s *scene) { s.quote.QEReport.MiscSelect[0] = 1 }, fails: []string{"qe_identity"}},
		{name: "outdated quoting enclave", change: func(_ *testing.T, s *scene) { s.quote.QEReport.ISVSVN = 3 }, fails: []string{"tcb_status"}},
		{name: "quoting enclave below every level", change: func(_ *testing.T, s *scene) { s.quote.QEReport.ISVSVN = 0 }, fails: []string{"tcb_status"}},
		{name: "outdated microcode", change: func(_ *testing.T, s *scene) { s.ext.ComponentSVNs[0] = 2 }, fails: []string{"tcb_status"}},
		{name: "outdated PCE", change: func(_ *testing.T, s *scene) { s.ext.PCESVN = 10 }, fails: []string{"tcb_status"}},
		{name: "outdated TDX component", change: func(_ *testing.T, s *scene) { s.quote.Body.TEETCBSVN[2] = 2 }, fails: []string{"tcb_status"}},
		{name: "platform below every level", change: func(_ *testing.T, s *scene) { s.ext.PCESVN = 1 }, fails: []string{"tcb_status"}},
		{name: "outdated TDX module", change: func(_ *testing.T, s *scene) { s.quote.Body.TEETCBSVN[0] = 3 }, fails: []string{"tcb_status"}},
		{name: "unknown TDX module version", change: func(_ *testing.T, s *scene) { s.quote.Body.TEETCBSVN[1] = 9 }, fails: []string{"module_identity"}},
		{name: "TDX module of another signer", change: func(_ *testing.T, s *scene) { s.quote.Body.MRSignerSEAM[0] = 1 }, fails: []string{"module_identity", "mr_signer_seam"}},
		{name: "TDX module with attributes", change: func(_ *testing.T, s *scene) { s.quote.Body.SEAMAttributes[0] = 1 }, fails: []string{"module_identity", "seam_attributes"}},
		{name: "another platform than the allowed", change: func(_ *testing.T, s *scene) { s.policy.PPID = tdx.OneOf(make([]byte, 16)) }, fails: []string{"ppid"}},
	})
}

func TestHostileTDIsRefused(t *testing.T) {
	wrong48 := tdx.OneOf(bytes.Repeat([]byte{0xee}, 48))
	attr := func(i int, bits byte) func(*testing.T, *scene) {
		return func(_ *testing.T, s *scene) { s.quote.Body.TDAttributes[i] |= bits }
	}
	pinned := func(set func(*tdx.Policy)) func(*testing.T, *scene) {
		return func(_ *testing.T, s *scene) { set(&s.policy) }
	}
	cases := []hostileCase{
		{name: "debug TD", change: attr(0, 1), fails: []string{"debug_off"}},
		{name: "TD profiled by the host", change: attr(0, 0x20), fails: []string{"debug_off"}},
		{name: "reserved attribute", change: attr(4, 1), fails: []string{"td_attributes"}},
		{name: "migratable TD", change: attr(3, 0x20), fails: []string{"td_attributes"}},
		{name: "protection keys, unnamed by a strict policy", change: func(t *testing.T, s *scene) {
			s.quote.Body.TDAttributes[3] |= 0x40
			s.policy = allAny()
			s.policy.TDAttributes = tdx.Pin{}
		}, fails: []string{"td_attributes"}},
		{name: "XFAM without SSE", change: func(_ *testing.T, s *scene) { s.quote.Body.XFAM[0] = 1 }, fails: []string{"xfam"}},
		{name: "XFAM with a forbidden bit", change: func(_ *testing.T, s *scene) { s.quote.Body.XFAM[7] = 0x80 }, fails: []string{"xfam"}},
		{name: "a service TD is bound", kind: [2]uint16{5, 3}, change: func(_ *testing.T, s *scene) { s.quote.Body.MRServiceTD[0] = 1 }, fails: []string{"mr_service_td"}},
		{name: "service TD pinned, report has none", change: pinned(func(p *tdx.Policy) { p.MRServiceTD = wrong48 }), fails: []string{"mr_service_td"}},
		{name: "report data", change: pinned(func(p *tdx.Policy) { p.ReportData = tdx.OneOf(make([]byte, 64)) }), fails: []string{"report_data"}},
		{name: "TEE TCB SVN floor", change: pinned(func(p *tdx.Policy) { p.MinimumTEETCBSVN = tdx.OneOf(append([]byte{0, 0, 4}, make([]byte, 13)...)) }), fails: []string{"minimum_tee_tcb_svn"}},
		{name: "FMSPC", change: pinned(func(p *tdx.Policy) { p.FMSPC = tdx.OneOf(make([]byte, 6)) }), fails: []string{"fmspc"}},
		{name: "TD attributes pinned otherwise", change: pinned(func(p *tdx.Policy) { p.TDAttributes = tdx.OneOf(make([]byte, 8)) }), fails: []string{"td_attributes"}},
		{name: "XFAM pinned otherwise", change: pinned(func(p *tdx.Policy) { p.XFAM = tdx.OneOf(make([]byte, 8)) }), fails: []string{"xfam"}},
		{name: "a pin of the wrong size", change: pinned(func(p *tdx.Policy) { p.MRTD = tdx.OneOf([]byte{1}) }), fails: []string{"policy"}},
	}
	for name, pin := range map[string]func(*tdx.Policy) *tdx.Pin{
		"mr_td": func(p *tdx.Policy) *tdx.Pin { return &p.MRTD }, "mr_seam": func(p *tdx.Policy) *tdx.Pin { return &p.MRSEAM },
		"rtmr0": func(p *tdx.Policy) *tdx.Pin { return &p.RTMR0 }, "rtmr1": func(p *tdx.Policy) *tdx.Pin { return &p.RTMR1 },
		"rtmr2": func(p *tdx.Policy) *tdx.Pin { return &p.RTMR2 }, "rtmr3": func(p *tdx.Policy) *tdx.Pin { return &p.RTMR3 },
		"mr_config_id": func(p *tdx.Policy) *tdx.Pin { return &p.MRConfigID }, "mr_owner": func(p *tdx.Policy) *tdx.Pin { return &p.MROwner },
		"mr_owner_config": func(p *tdx.Policy) *tdx.Pin { return &p.MROwnerConfig },
	} {
		cases = append(cases, hostileCase{name: "pinned " + strings.ReplaceAll(name, "_", " "), change: pinned(func(p *tdx.Policy) { *pin(p) = wrong48 }), fails: []string{name}})
	}
	runHostile(t, cases)
}

// allAny is a strict policy that says of every bound field that any value will do.
func allAny() tdx.Policy {
	a := tdx.AnyValue()
	return tdx.Policy{
		MRTD: a, RTMR0: a, RTMR1: a, RTMR2: a, RTMR3: a, MRConfigID: a, MROwner: a, MROwnerConfig: a, ReportData: a, PPID: a,
	}
}

// quoteOf returns the same quote by another platform.
func quoteOf(s *scene) []byte {
	return must(must(s.pki.NewPlatform(s.ext)).Quote(s.quote))
}
