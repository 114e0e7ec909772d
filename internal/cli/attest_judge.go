package cli

import (
	"encoding/hex"
	"strings"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

func (v *attestVerify) judgeSNP(report []byte) (*attest.Verdict, error) {
	p, err := v.policy.ForSEVSNP()
	if err != nil {
		return nil, err
	}
	ev, err := v.snpFiles(report)
	if err != nil {
		return nil, err
	}
	config := sevsnp.Config{CacheSize: -1}
	if len(v.roots) > 0 {
		ders, err := v.rootCertificates()
		if err != nil {
			return nil, err
		}
		if config.Roots, err = sevsnp.ParseRoots(attestPEM(ders)); err != nil {
			return nil, usagef("--root: %w", err)
		}
	}
	verifier, err := sevsnp.NewVerifier(config)
	if err != nil {
		return nil, usagef("--root: %w", err)
	}
	return verifier.Verify(ev, p, v.at), nil
}

// snpFiles reads the certificates and the list that go with a report.
func (v *attestVerify) snpFiles(report []byte) (sevsnp.Evidence, error) {
	ev := sevsnp.Evidence{Report: report}
	for _, f := range []struct {
		flag, path string
		limit      int64
		into       *[]byte
	}{
		{"vcek", v.vcek, maxAttestCertificate, &ev.VEK},
		{"chain", v.chain, maxAttestCertificate, &ev.Chain},
		{"crl", v.crl, maxAttestCRL, &ev.CRL},
	} {
		b, err := v.attestFile(f.flag, f.path, f.limit)
		if err != nil {
			return ev, err
		}
		if f.path != "" && len(b) == 0 {
			b = []byte("\n") // a file that was cut to nothing is garbage, not absent
		}
		*f.into = b
	}
	return ev, nil
}

// judgeTDX judges a quote under each root that is trusted: the one it leads to
// gives the verdict.
func (v *attestVerify) judgeTDX(quote []byte) (*attest.Verdict, error) {
	p, err := v.policy.ForTDX()
	if err != nil {
		return nil, err
	}
	collateral, err := v.tdxCollateral()
	if err != nil {
		return nil, err
	}
	configs := []tdx.Config{{}}
	if len(v.roots) > 0 {
		if configs, err = v.tdxRoots(); err != nil {
			return nil, err
		}
	}
	var out *attest.Verdict
	for _, c := range configs {
		verifier, err := tdx.NewVerifier(c)
		if err != nil {
			return nil, usagef("--root: %w", err)
		}
		verdict := verifier.Verify(tdx.Evidence{Quote: quote}, collateral, p, v.at)
		if out == nil || verdict.Accepted || attestPassed(verdict, "pck_chain") && !out.Accepted {
			out = verdict
		}
	}
	return out, nil
}

func attestPassed(v *attest.Verdict, check string) bool {
	for _, c := range v.Checks {
		if c.Name == check {
			return c.OK
		}
	}
	return false
}

func (v *attestVerify) judgeNVIDIA(document []byte) (*attest.Verdict, error) {
	p, err := v.policy.ForNVIDIA()
	if err != nil {
		return nil, err
	}
	nonce, err := v.readNonce()
	if err != nil {
		return nil, err
	}
	rims, ocsp, garbage, err := v.nvidiaFolders()
	if err != nil {
		return nil, err
	}
	verifier, err := v.nvidiaVerifier()
	if err != nil {
		return nil, err
	}
	evidence, err := nvidia.ParseEvidence(document)
	if err != nil {
		verdict := attest.NewVerdict(attest.FormatNVIDIA, v.at)
		verdict.Fail("document_format", "%v", err)
		return verdict, nil
	}
	verdict := verifier.Verify(evidence, rims, ocsp, p, nonce, v.at)
	for _, g := range garbage {
		verdict.Fail("ocsp_format", "%v", g)
	}
	return verdict, nil
}

// readNonce reads --nonce; the zero-length text is no nonce but a slip.
func (v *attestVerify) readNonce() ([]byte, error) {
	if v.nonce == "" {
		return nil, nil
	}
	nonce, err := hex.DecodeString(strings.TrimPrefix(v.nonce, "0x"))
	if err != nil || len(nonce) != 32 {
		return nil, usagef("--nonce is 64 hex digits (32 bytes), not %.80q", v.nonce)
	}
	return nonce, nil
}
