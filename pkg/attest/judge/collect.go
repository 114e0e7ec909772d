package judge

import (
	"crypto/x509"
	"fmt"
	"path"
	"strings"

	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// get asks for a document. What can't be had is noted: the check that needs it fails.
func (t *trial) get(simulated bool, r collateral.Request) *collateral.Document {
	getter := t.getter
	if simulated {
		getter = t.fakeGetter
	}
	if getter == nil {
		return nil
	}
	d, err := getter.Get(t.ctx, r)
	if err != nil {
		t.problem(r.File, err)
		return nil
	}
	if d.Stale {
		t.stale = append(t.stale, fmt.Sprintf("%s, which ended at %s", r.File, d.Expires.UTC().Format("2006-01-02T15:04:05Z")))
	}
	return d
}

func (t *trial) problem(what string, err error) {
	t.problems = append(t.problems, fmt.Sprintf("%s: %v", what, err))
}

// getSNP gets what the evidence of a report lacks, and the revocation list.
func (t *trial) getSNP(ev *sevsnp.Evidence, simulated bool) {
	if t.getter == nil && !simulated || t.fakeGetter == nil && simulated {
		return
	}
	requests, err := collateral.ForReport(ev.Report, productOf(ev.VEK))
	if err != nil {
		t.problem("sev-snp certificates", err)
		return
	}
	for _, r := range requests {
		var into *[]byte
		switch r.Kind {
		case collateral.AMDCertificate:
			into = &ev.VEK
		case collateral.AMDChain:
			into = &ev.Chain
		default:
			into = &ev.CRL
		}
		if len(*into) > 0 {
			continue
		}
		if d := t.get(simulated, r); d != nil {
			*into = d.Body
		}
	}
}

// productOf is the product line that the issuer of a VCEK or VLEK is named for;
// reports of version 2 don't say it.
func productOf(vek []byte) sevsnp.Product {
	cert, err := x509.ParseCertificate(vek)
	if err != nil {
		return sevsnp.ProductUnknown
	}
	for _, p := range []sevsnp.Product{sevsnp.Milan, sevsnp.Genoa, sevsnp.Turin} {
		if strings.HasSuffix(cert.Issuer.CommonName, "-"+p.String()) {
			return p
		}
	}
	return sevsnp.ProductUnknown
}

// getTDX gets what Intel publishes of a platform; nil if the policy wants none.
func (t *trial) getTDX(p tdx.Policy, simulated bool) *tdx.Collateral {
	if p.TCB == tdx.ChainOnly || t.getter == nil && !simulated || t.fakeGetter == nil && simulated {
		return nil
	}
	requests, err := collateral.ForQuote(t.doc.Report)
	if err != nil {
		t.problem("tdx collateral", err)
		return nil
	}
	c := &tdx.Collateral{}
	for _, r := range requests {
		d := t.get(simulated, r)
		if d == nil {
			continue
		}
		switch r.Kind {
		case collateral.IntelTCBInfo:
			c.TCBInfo, c.TCBInfoChain = d.Body, d.Chain
		case collateral.IntelQEIdentity:
			c.QEIdentity, c.QEIdentityChain = d.Body, d.Chain
		case collateral.IntelPCKCRL:
			c.PCKCRL, c.PCKCRLChain = d.Body, d.Chain
		default:
			c.RootCRL = d.Body
		}
	}
	return c
}

// getDevices gets the RIMs and OCSP responses that the policy wants compared, for the
// devices that have answered: no stranger's text makes the services be asked, and the
// cache keep what they say.
func (t *trial) getDevices(e nvidia.Evidence, p nvidia.Policy) (*nvidia.RIMSet, *nvidia.OCSPSet) {
	if t.getter == nil && t.fakeGetter == nil {
		return nil, nil
	}
	g := gathering{trial: t, rims: p.RequireRIMs == nil || *p.RequireRIMs, ocsp: p.RequireOCSP == nil || *p.RequireOCSP}
	g.rimSet, _ = nvidia.NewRIMSet(nil) // an empty set can't fail
	g.ocspSet, _ = nvidia.NewOCSPSet()
	for _, d := range e.Devices {
		if t.nvidia.Answers(d, t.expect.Nonce[:], t.at) != nil {
			continue // which the verdict says
		}
		g.simulated = t.simulatedRoot(d.Chain[len(d.Chain)-1])
		requests, err := collateral.ForDevices(nvidia.Evidence{Devices: []nvidia.Device{d}})
		if err != nil {
			t.problem("nvidia collateral", err)
			continue
		}
		g.all(requests)
	}
	return g.rimSet, g.ocspSet
}

// gathering collects the documents for devices.
type gathering struct {
	*trial
	simulated, rims, ocsp bool
	rimSet                *nvidia.RIMSet
	ocspSet               *nvidia.OCSPSet
	seen                  map[string]bool
}

func (g *gathering) all(requests []collateral.Request) {
	if g.seen == nil {
		g.seen = map[string]bool{}
	}
	for _, r := range requests {
		wanted := r.Kind == collateral.NVIDIARIM && g.rims || r.Kind == collateral.NVIDIAOCSP && g.ocsp
		if !wanted || g.seen[r.File] {
			continue
		}
		g.seen[r.File] = true
		d := g.get(g.simulated, r)
		if d == nil {
			continue
		}
		if err := g.add(r, d.Body); err != nil {
			g.problem(r.File, err)
		}
	}
}

func (g *gathering) add(r collateral.Request, body []byte) error {
	if r.Kind == collateral.NVIDIAOCSP {
		return g.ocspSet.Add(body)
	}
	if err := g.rimSet.Add(path.Base(r.File), body); err != nil {
		return err
	}
	if !g.ocsp {
		return nil
	}
	more, err := collateral.ForRIM(body)
	if err != nil {
		return err
	}
	g.all(more)
	return nil
}
