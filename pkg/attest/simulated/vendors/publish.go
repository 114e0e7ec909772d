package vendors

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// CollateralFolder is where, within their folder, the vendors publish what real ones
// publish beside evidence, in the layout of package collateral: revocation lists,
// TCB info and QE identity, RIMs and OCSP responses, under the simulated roots. It
// holds no key.
const CollateralFolder = "collateral"

// lasting is how long documents last. Those with less than half of it left are
// issued anew whenever the folder is opened, so that a fleet which is used now and
// then has no need of a service that runs.
const lasting = 365 * 24 * time.Hour

// office issues documents, by their place in a cache.
type office map[string]func() (*collateral.Document, error)

// Get implements collateral.Getter.
func (o office) Get(_ context.Context, r collateral.Request) (*collateral.Document, error) {
	issue, ok := o[r.File]
	if !ok {
		return nil, fmt.Errorf("%s: %w", r.File, collateral.ErrNotFound)
	}
	return issue()
}

// publish issues those of the documents that are not there, or end soon.
func (v *Vendors) publish(o office, requests []collateral.Request) error {
	cache, err := collateral.NewCache(collateral.CacheConfig{
		Folder: filepath.Join(v.dir, CollateralFolder), Next: o, RefreshBefore: lasting / 2, Clock: v.now,
	})
	if err != nil {
		return fmt.Errorf("publish simulated collateral: %w", err)
	}
	outcomes, err := collateral.Prefetch(context.Background(), cache, requests)
	if err == nil {
		err = collateral.Failed(outcomes)
	}
	if closed := cache.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("publish simulated collateral: %w", err)
	}
	return nil
}

// publishProcessors publishes what judges the processors.
func (v *Vendors) publishProcessors() error {
	crl, err := collateral.AMDCRLOf(v.amd.Product(), sevsnp.VCEK)
	if err != nil {
		return fmt.Errorf("publish simulated collateral: %w", err)
	}
	o := office{crl.File: func() (*collateral.Document, error) {
		der, err := v.amd.CRL(v.now().Add(-time.Hour), v.now().Add(lasting))
		return &collateral.Document{Body: der}, err
	}}
	ext, err := tdx.ParsePCKExtensions(v.intel.PCK.Cert)
	if err != nil {
		return fmt.Errorf("publish simulated collateral: %w", err)
	}
	requests, err := collateral.ForPlatform(ext.FMSPC, collateral.Platform)
	if err != nil {
		return fmt.Errorf("publish simulated collateral: %w", err)
	}
	for _, r := range requests {
		o[r.File] = func() (*collateral.Document, error) { return v.ofIntel(r.Kind) }
	}
	return v.publish(o, append(requests, crl))
}

// ofIntel issues one of the documents on the simulated platform's TCB: it is up to
// date, and none of its certificates is revoked.
func (v *Vendors) ofIntel(kind collateral.Kind) (*collateral.Document, error) {
	c := tdxtest.NewCollateral(v.now())
	c.NextUpdate = v.now().Add(lasting).UTC()
	for _, m := range []map[string]any{c.TCBInfo, c.QEIdentity} {
		m["nextUpdate"] = c.NextUpdate.Format(time.RFC3339)
	}
	signed, err := v.authorities.Collateral(c)
	if err != nil {
		return nil, err
	}
	switch kind {
	case collateral.IntelTCBInfo:
		return &collateral.Document{Body: signed.TCBInfo, Chain: signed.TCBInfoChain}, nil
	case collateral.IntelQEIdentity:
		return &collateral.Document{Body: signed.QEIdentity, Chain: signed.QEIdentityChain}, nil
	case collateral.IntelPCKCRL:
		return &collateral.Document{Body: signed.PCKCRL, Chain: signed.PCKCRLChain}, nil
	}
	return &collateral.Document{Body: signed.RootCRL}, nil
}

// publishDevice publishes the RIMs of a device's driver and firmware, and that
// neither its certificates nor those of the RIMs are revoked.
func (v *Vendors) publishDevice(d *nvidiatest.Device) error {
	shown, err := d.Evidence(reportOf(d.Spec.Arch))
	if err != nil {
		return fmt.Errorf("publish simulated collateral: %w", err)
	}
	e := nvidia.Evidence{Devices: []nvidia.Device{shown}}
	requests, err := collateral.ForDevices(e)
	if err != nil {
		return fmt.Errorf("publish simulated collateral: %w", err)
	}
	signer, err := v.nvidia.RIMSigner(nvidiatest.RIMSpec{})
	if err != nil {
		return fmt.Errorf("publish simulated collateral: %w", err)
	}
	o := office{}
	for _, s := range []*nvidiatest.Signer{d.Issuer, signer} {
		if err := v.vouch(o, s); err != nil {
			return err
		}
	}
	report, err := nvidia.ParseReport(shown.Report)
	if err != nil {
		return fmt.Errorf("publish simulated collateral: %w", err)
	}
	for _, r := range requests {
		if r.Kind == collateral.NVIDIARIM {
			o[r.File] = func() (*collateral.Document, error) { return v.rim(r.File, d.Spec.Arch, report.Opaque, signer) }
		}
	}
	return v.publish(o, requests)
}

// vouch has the office say that a signer and all above it are good.
func (v *Vendors) vouch(o office, s *nvidiatest.Signer) error {
	for ; s.Issuer != nil; s = s.Issuer {
		r, err := collateral.OCSP(s.Cert, s.Issuer.Cert)
		if err != nil {
			return fmt.Errorf("publish simulated collateral: %w", err)
		}
		subject := s
		o[r.File] = func() (*collateral.Document, error) {
			der, err := v.nvidia.OCSP(nvidiatest.OCSPSpec{
				Subject: subject, Status: ocsp.Good, ThisUpdate: v.now().Add(-time.Hour), NextUpdate: v.now().Add(lasting),
			})
			return &collateral.Document{Body: der}, err
		}
	}
	return nil
}
