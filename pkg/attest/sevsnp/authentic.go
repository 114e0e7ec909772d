package sevsnp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// judge makes the checks of one report.
type judge struct {
	*attest.Verdict
	policy *Policy
	at     time.Time
	raw    []byte
	report *Report
	facts  *facts
}

// form checks what needs no certificate.
func (j *judge) form() bool {
	r, err := ParseReport(j.raw)
	if err != nil {
		name := CheckReportFormat
		if errors.Is(err, ErrReportVersion) {
			name = CheckReportVersion
		}
		j.Fail(name, "%v", err)
		return false
	}
	j.report = r
	j.Pass(CheckReportFormat, "1184 bytes, reserved bytes are zero")
	if r.Version < j.policy.MinimumReportVersion {
		j.Fail(CheckReportVersion, "version %d, want at least %d", r.Version, j.policy.MinimumReportVersion)
		return false
	}
	j.Pass(CheckReportVersion, "version %d", r.Version)
	return j.Report(CheckReportSigner, j.signer(), "signed by a %v with ECDSA P-384 and SHA-384", r.Signer.Kind())
}

func (j *judge) signer() error {
	kind := j.report.Signer.Kind()
	if kind != VCEK && kind != VLEK {
		return fmt.Errorf("signing key is %v, want VCEK or VLEK", kind)
	}
	if len(j.policy.Signers) > 0 && !slices.Contains(j.policy.Signers, kind.String()) {
		return fmt.Errorf("signing key is %v, want one of %v", kind, j.policy.Signers)
	}
	if j.report.SignatureAlgo != algoECDSAP384SHA384 {
		return fmt.Errorf("signature algorithm %d, want %d", j.report.SignatureAlgo, algoECDSAP384SHA384)
	}
	return nil
}

// authentic checks that the report comes from the chip that the chain endorses. It
// goes on after a failure, so that the verdict names everything that is wrong.
func (j *judge) authentic() bool {
	f := j.facts
	j.Pass(CheckCertificateFormat, "extensions are well-formed, key is on P-384")
	j.Pass(CheckSignatureChain, "chain of signatures ends at %s", f.rootName)
	ok := j.simulated()
	ok = j.Report(CheckCertificateValidity, j.validity(), "all certificates are valid") && ok
	ok = j.revocation() && ok
	ok = j.Report(CheckProduct, j.product(), "%v", f.ek.product) && ok
	ok = j.Report(CheckCertificateExtensions, j.extensions(), "TCB and chip id are the report's") && ok
	return j.Report(CheckReportSignature, verifySignature(f.key, j.raw), "signature of the report verifies") && ok
}

func (j *judge) simulated() bool {
	if !j.facts.simulated {
		return true
	}
	j.Insecure = append(j.Insecure, "simulated")
	if !j.policy.AllowSimulated {
		j.Fail(CheckSimulated, "the root %s endorses no hardware, and the policy doesn't say allow_simulated", j.facts.rootName)
		return false
	}
	j.Pass(CheckSimulated, "the root %s endorses no hardware, which the policy allows", j.facts.rootName)
	return true
}

func (j *judge) validity() error {
	for _, w := range j.facts.windows {
		if err := w.check(j.at); err != nil {
			return err
		}
	}
	return nil
}

// revocation tells whether the list, if there is one, is to be believed. That none is
// there fails the check and ends nothing: the report is no less authentic.
func (j *judge) revocation() bool {
	if crl := j.facts.crl; crl != nil {
		return j.freshCRL(crl)
	}
	want := !j.policy.PermitUnpinned
	if j.policy.RequireCRL != nil {
		want = *j.policy.RequireCRL
	}
	if want {
		j.Fail(CheckRevocation, "no revocation list was given: hand in the root's, or say require_crl: false")
	} else {
		j.NotPinned = append(j.NotPinned, "require_crl")
	}
	return true
}

// freshCRL checks that the list, which names nothing of the chain, is in its time, or
// ended no longer ago than the policy allows: AMD's service may be out of order.
func (j *judge) freshCRL(crl *crlFacts) bool {
	late := j.at.Sub(crl.to)
	if late <= 0 || late > j.policy.AllowStaleCRL {
		return j.Report(CheckRevocation, crl.check(j.at), "no certificate of the chain is revoked")
	}
	j.Claims["crl_stale"] = true
	j.Pass(CheckRevocation, "no certificate of the chain is revoked by a list that ended on %s, %s ago; allow_stale_crl is %s",
		stamp(crl.to), late, j.policy.AllowStaleCRL)
	return true
}

// product compares the certificate's product with the CPU that the report names; one
// of version 2, or with no CPU in it, names none.
func (j *judge) product() error {
	p := j.facts.ek.product
	if len(j.policy.Products) > 0 && !slices.Contains(j.policy.Products, p.String()) {
		return fmt.Errorf("product is %v, want one of %v", p, j.policy.Products)
	}
	if j.report.Version < 3 || j.report.Family == 0 && j.report.Model == 0 && j.report.Stepping == 0 {
		return nil
	}
	cpu, err := productByCPUID(j.report.Family, j.report.Model)
	if err != nil {
		return err
	}
	if cpu != p {
		return fmt.Errorf("report comes from %v, its certificate is for %v", cpu, p)
	}
	return nil
}

// extensions compares the certificate's TCB and chip with the report's: the key is
// derived from both (ABI section 3.7).
func (j *judge) extensions() error {
	ek, r := j.facts.ek, j.report
	if ek.tcb != r.ReportedTCB {
		return fmt.Errorf("certificate is for TCB %+v, report says %+v", ek.tcb.Decode(ek.product), r.ReportedTCB.Decode(ek.product))
	}
	if ek.hwid == nil {
		return nil
	}
	n := len(ek.hwid)
	if bytes.Equal(ek.hwid, r.ChipID[:n]) && allZero(r.ChipID[n:]) {
		return nil
	}
	if allZero(r.ChipID[:]) {
		if j.policy.AllowMaskedChipID {
			return nil
		}
		return errors.New("chip id is masked, and the policy doesn't say allow_masked_chip_id")
	}
	return fmt.Errorf("certificate is for chip %x, report says %x", ek.hwid, r.ChipID)
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
