package judge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

func TestARevokedChainIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		serials []int64
		failed  []string
	}{"nothing revoked": {nil, nil}, "the ASK revoked": {[]int64{2}, []string{"revocation"}}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, attest.FormatSEVSNP, 0)
			crl, err := l.amd.CRL(now.Add(-time.Hour), now.Add(time.Hour), c.serials...)
			if err != nil {
				t.Fatal(err)
			}
			real := &shelf{}
			l.config.Getter = real
			l.config.SimulatedGetter = &shelf{documents: map[collateral.Kind]*collateral.Document{collateral.AMDCRL: {Body: crl}}}
			l.config.Policy.SEVSNP.RequireCRL = nil
			l.mustRefuse(c.failed...)
			if len(real.asked) > 0 {
				t.Errorf("AMD was asked for %v of a processor that doesn't exist", real.asked)
			}
		})
	}
}

func TestCertificatesThatTheHostKeptBackAreFetched(t *testing.T) {
	l := newLab(t, attest.FormatSEVSNP, 0)
	var vek []byte
	l.editDocument = func(d *evidence.Document) { vek, d.Certificates = d.Certificates[0], nil }
	l.mustRefuse("certificate_format")
	getter := &shelf{documents: map[collateral.Kind]*collateral.Document{
		collateral.AMDCertificate: {Body: vek}, collateral.AMDChain: {Body: l.amd.Chain(sevsnp.VCEK)},
	}}
	l.config.Getter = getter
	v := l.mustAccept()
	if !slices.Equal(getter.asked, []collateral.Kind{collateral.AMDCertificate, collateral.AMDChain, collateral.AMDCRL}) {
		t.Errorf("asked for %v", getter.asked)
	}
	if problems, _ := v.Claims["collateral_problems"].([]string); len(problems) != 1 || !strings.Contains(problems[0], "crl") {
		t.Errorf("problems %v, expected that there is no list", v.Claims["collateral_problems"])
	}
	l.config.Policy.SEVSNP.RequireCRL = nil
	l.mustRefuse("revocation")
}

// intelShelf is what the simulated Intel publishes, made at a time.
func (l *lab) intelShelf(at time.Time) *shelf {
	l.t.Helper()
	c, err := l.intel.Collateral(tdxtest.NewCollateral(at))
	if err != nil {
		l.t.Fatal(err)
	}
	end := at.Add(30 * 24 * time.Hour)
	return &shelf{documents: map[collateral.Kind]*collateral.Document{
		collateral.IntelTCBInfo:    {Body: c.TCBInfo, Chain: c.TCBInfoChain, Expires: end, Stale: now.After(end)},
		collateral.IntelQEIdentity: {Body: c.QEIdentity, Chain: c.QEIdentityChain, Expires: end},
		collateral.IntelPCKCRL:     {Body: c.PCKCRL, Chain: c.PCKCRLChain, Expires: end},
		collateral.IntelRootCRL:    {Body: c.RootCRL, Expires: end},
	}}
}

func TestTheTCBIsJudgedByCollateral(t *testing.T) {
	l := newLab(t, attest.FormatTDX, 0)
	l.config.Policy.TDX.TCB = tdx.Required
	l.mustRefuse("collateral")
	l.config.SimulatedGetter = l.intelShelf(now)
	if v := l.mustAccept(); v.Claims["tcb_status"] != string(tdx.UpToDate) || !slices.Equal(v.Insecure, []string{"simulated"}) {
		t.Errorf("status %v, marks %v, expected UpToDate and simulated", v.Claims["tcb_status"], v.Insecure)
	}
	l.config.SimulatedGetter = &shelf{}
	l.mustRefuse("collateral")
}

func TestOldCollateralServesAsLongAsThePolicySays(t *testing.T) {
	l := newLab(t, attest.FormatTDX, 0)
	l.config.Policy.TDX.TCB = tdx.Required
	l.config.SimulatedGetter = l.intelShelf(now.Add(-31 * 24 * time.Hour))
	l.mustRefuse("collateral_freshness")
	l.config.Policy.Collateral.AllowStale = 48 * time.Hour
	v := l.mustAccept()
	i := slices.IndexFunc(v.Checks, func(c attest.Check) bool { return c.Name == "freshness" })
	if !strings.Contains(v.Checks[i].Detail, "tcb_info.json") || v.Claims["collateral_stale"] == nil {
		t.Errorf("freshness says %q, expected that the TCB info has ended", v.Checks[i].Detail)
	}
}

// nvidiaShelf has RIMs for the lab's devices and good answers for all certificates.
func (l *lab) nvidiaShelf(e nvidia.Evidence) *shelf {
	l.t.Helper()
	zero := make([]byte, 48)
	s := &shelf{byFile: map[string]*collateral.Document{}}
	var signers []*nvidiatest.Signer
	for id, version := range map[string]string{
		"NV_GPU_DRIVER_GH100_550.90.07": "550.90.07", "NV_GPU_VBIOS_1010_0200_882_96009F0001": "96.00.9F.00.01",
	} {
		index := 1
		if version == "550.90.07" {
			index = 2
		}
		spec := nvidiatest.RIMSpec{Version: version, Golden: []nvidia.Golden{{Index: index, Active: true, Values: [][]byte{zero}}}}
		signer, err := l.nvidia.RIMSigner(spec)
		if err != nil {
			l.t.Fatal(err)
		}
		spec.Signer = signer
		rim, err := l.nvidia.RIM(spec)
		if err != nil {
			l.t.Fatal(err)
		}
		s.byFile["nvidia/rim/"+id+".xml"] = &collateral.Document{Body: rim}
		signers = append(signers, signer)
	}
	device, err := l.nvidia.Device(nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: nvidia.PDI{0x48, 0}})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, signer := range append(signers, device.Issuer) {
		l.answer(s, signer)
	}
	return s
}

// answer puts in OCSP responses for a signer and all above it.
func (l *lab) answer(s *shelf, signer *nvidiatest.Signer) {
	for ; signer.Issuer != nil; signer = signer.Issuer {
		r, err := collateral.OCSP(signer.Cert, signer.Issuer.Cert)
		if err != nil {
			l.t.Fatal(err)
		}
		der, err := l.nvidia.OCSP(nvidiatest.OCSPSpec{Subject: signer, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)})
		if err != nil {
			l.t.Fatal(err)
		}
		s.byFile[r.File] = &collateral.Document{Body: der}
	}
}

func TestGPUsAreComparedWithRIMsAndRevocation(t *testing.T) {
	l := newLab(t, attest.FormatSEVSNP, 1)
	l.config.Policy.NVIDIA.RequireRIMs, l.config.Policy.NVIDIA.RequireOCSP = nil, nil
	l.mustRefuse("gpu0_device_ocsp_response", "gpu0_driver_rim_found", "gpu0_vbios_rim_found")
	s := l.nvidiaShelf(nvidia.Evidence{})
	l.config.SimulatedGetter = s
	v := l.mustAccept()
	if !slices.ContainsFunc(v.Checks, func(c attest.Check) bool { return c.Name == "gpu0_measurements" && c.OK }) {
		t.Error("the measurements were not compared")
	}
	delete(s.byFile, "nvidia/rim/NV_GPU_DRIVER_GH100_550.90.07.xml")
	l.mustRefuse("gpu0_driver_rim_found")
	s.byFile["nvidia/rim/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml"] = &collateral.Document{Body: []byte("<x/>")}
	v = l.mustRefuse("gpu0_driver_rim_found", "gpu0_vbios_rim_format")
	if problems, _ := v.Claims["collateral_problems"].([]string); len(problems) != 3 {
		t.Errorf("problems %v, expected one for each RIM, and that AMD's list is missing", problems)
	}
}

// asks counts, by kind, what a getter was asked for.
func (s *shelf) asks(kinds ...collateral.Kind) int {
	n := 0
	for _, k := range s.asked {
		if slices.Contains(kinds, k) {
			n++
		}
	}
	return n
}

func TestNothingIsFetchedForDevicesThatHaveNotAnswered(t *testing.T) {
	nonce, other := fill(1), fill(9)
	device := func(l *lab, pki *nvidiatest.PKI) *nvidiatest.Device {
		d, err := pki.Device(nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: nvidia.PDI{0x48, 7}})
		if err != nil {
			l.t.Fatal(err)
		}
		return d
	}
	evidenceOf := func(l *lab, d *nvidiatest.Device, nonce []byte) nvidia.Device {
		e, err := d.Evidence(nvidiatest.ReportSpec{Nonce: nonce})
		if err != nil {
			l.t.Fatal(err)
		}
		return e
	}
	forger, err := nvidiatest.New([]byte("a forger's roots"))
	if err != nil {
		t.Fatal(err)
	}
	for name, devices := range map[string]func(*lab) []nvidia.Device{
		"roots that nobody trusts": func(l *lab) []nvidia.Device {
			return []nvidia.Device{evidenceOf(l, device(l, forger), nonce[:])}
		},
		"a trusted root behind a forged chain": func(l *lab) []nvidia.Device {
			d := evidenceOf(l, device(l, forger), nonce[:])
			d.Chain[len(d.Chain)-1] = l.nvidia.DeviceRoot.Cert.Raw
			return []nvidia.Device{d}
		},
		"a report that another has signed": func(l *lab) []nvidia.Device {
			d := evidenceOf(l, device(l, forger), nonce[:])
			d.Chain = device(l, l.nvidia).Chain()
			return []nvidia.Device{d}
		},
		"an answer to somebody else": func(l *lab) []nvidia.Device {
			return []nvidia.Device{evidenceOf(l, device(l, l.nvidia), other[:])}
		},
		"more devices than any host has": func(l *lab) []nvidia.Device {
			return slices.Repeat([]nvidia.Device{evidenceOf(l, device(l, l.nvidia), nonce[:])}, nvidia.MaxDevices)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, attest.FormatSEVSNP, 1)
			l.config.Policy.NVIDIA.RequireRIMs, l.config.Policy.NVIDIA.RequireOCSP = nil, nil
			real, fake := &shelf{}, &shelf{}
			l.config.Getter, l.config.SimulatedGetter = real, fake
			l.editDocument = func(d *evidence.Document) {
				raw, err := nvidia.EncodeEvidence(nvidia.Evidence{Devices: devices(l)})
				if err != nil {
					t.Fatal(err)
				}
				d.DeviceEvidence = [][]byte{raw}
				if len(devices(l)) > 1 {
					d.DeviceEvidence = append(d.DeviceEvidence, raw)
				}
			}
			if l.verdict().Accepted {
				t.Error("it was accepted")
			}
			for who, s := range map[string]*shelf{"NVIDIA": real, "the simulated vendor": fake} {
				if n := s.asks(collateral.NVIDIARIM, collateral.NVIDIAOCSP); n > 0 {
					t.Errorf("%s was asked for %d documents", who, n)
				}
			}
		})
	}
}

func TestASimulatedRootBesideAnotherChainChangesNotWhoIsAsked(t *testing.T) {
	l := newLab(t, attest.FormatSEVSNP, 0)
	vendor, err := sevsnptest.NewSigner(sevsnp.Genoa, now.AddDate(0, 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	trusted := l.amd.Roots()[0].Certificate.Raw
	l.vendors = &vendors{amd: vendor, intel: l.intel, td: l.td, nvidia: l.nvidia}
	l.editDocument = func(d *evidence.Document) { d.Certificates = append(d.Certificates, trusted) }
	real, fake := &shelf{}, &shelf{}
	l.config.Getter, l.config.SimulatedGetter = real, fake
	if l.verdict().Accepted {
		t.Error("it was accepted")
	}
	if real.asks(collateral.AMDCRL) != 1 || len(fake.asked) > 0 {
		t.Errorf("AMD was asked for %v, the simulated vendor for %v; want AMD for its list alone", real.asked, fake.asked)
	}
}
