package judge

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// judgeSNP judges an SEV-SNP report.
func (t *trial) judgeSNP() {
	base, err := t.policy.ForSEVSNP()
	if err != nil {
		t.verdict.Fail(CheckPolicy, "%v", err)
		return
	}
	p := *base
	p.PermitUnpinned = false
	p.AllowSimulated = len(t.roots) > 0 // only roots that the policy names are trusted at all
	want := t.expect.common().ReportData(t.doc)
	p.ReportData = sevsnp.OneOf(want[:])
	p.HostData = sevsnp.OneOf(t.expect.PlatformDigest[:])
	if t.expect.AnyPlatform {
		p.HostData = sevsnp.Any()
	}
	p.Measurement = t.snpMeasurements(base.Measurement)
	v := t.snp.Verify(t.snpEvidence(), &p, t.at)
	t.verdict.Merge("", v)
	t.expect.common().CheckAnswer(t.verdict, t.doc)
	if r, err := sevsnp.ParseReport(t.doc.Report); err == nil {
		t.expect.common().CheckLaunch(t.verdict, t.doc, r.HostData)
	}
}

// snpMeasurements are the expected ones that the policy accepts.
func (t *trial) snpMeasurements(listed sevsnp.Pin) sevsnp.Pin {
	var values [][]byte
	for _, m := range t.expect.Measurements {
		if listed.IsSet() && !listed.Accepts(m.Launch[:]) {
			continue
		}
		values = append(values, m.Launch[:])
	}
	if len(values) > 0 {
		return sevsnp.OneOf(values...)
	}
	if len(t.expect.Measurements) > 0 {
		t.verdict.Fail(CheckMeasurement, "none of the measurements that are expected is in the policy's list")
	}
	return sevsnp.Pin{} // which accepts none
}

// snpEvidence puts the report, what came with it and what can be had together.
func (t *trial) snpEvidence() sevsnp.Evidence {
	ev := sevsnp.Evidence{Report: t.doc.Report}
	for i, der := range t.doc.Certificates {
		if i == 0 {
			ev.VEK = der
			continue
		}
		ev.Chain = append(ev.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	t.getSNP(&ev, t.underSimulated())
	return ev
}

// underSimulated tells whether a simulated root issued the report's certificate, by one
// of those beside it. One that only stands there too must not keep a vendor's list from
// being asked for.
func (t *trial) underSimulated() bool {
	if len(t.roots) == 0 {
		return false
	}
	var certs []*x509.Certificate
	for _, der := range t.doc.Certificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return false // which its check says
		}
		certs = append(certs, cert)
	}
	for i := 1; i < len(certs); i++ {
		if !issued(certs[i], certs[0]) {
			continue
		}
		for _, root := range t.roots {
			if issued(root, certs[i]) {
				return true
			}
		}
	}
	return false
}

func issued(parent, child *x509.Certificate) bool {
	return bytes.Equal(parent.RawSubject, child.RawIssuer) && child.CheckSignatureFrom(parent) == nil
}
