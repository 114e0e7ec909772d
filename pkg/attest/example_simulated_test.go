package attest_test

import (
	"crypto/sha256"
	"crypto/x509"
	"io/fs"
	"testing/fstest"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// must ends an example that can't be set up.
func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

type chip struct {
	roots                   []sevsnp.Root
	report, otherReport     []byte
	vcek, crl               []byte
	measurement, reportData []byte
}

func simulatedChip() chip {
	signer := must(sevsnptest.NewSigner(sevsnp.Genoa, time.Now().AddDate(0, 0, -1)))
	report := signer.Report()
	copy(report.Measurement[:], "what was launched")
	copy(report.ReportData[:], "what the guest binds")
	evidence := must(signer.Sign(report))
	other := *report
	copy(other.Measurement[:], "another kernel")
	return chip{
		roots:  signer.Roots(),
		report: evidence.Report, otherReport: must(signer.Sign(&other)).Report, vcek: evidence.VEK,
		crl:         must(signer.CRL(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))),
		measurement: report.Measurement[:], reportData: report.ReportData[:],
	}
}

type platform struct {
	root                    *x509.Certificate
	quote, otherQuote       []byte
	published               fs.FS
	mrtd, rtmr1, reportData []byte
}

func simulatedPlatform() platform {
	now := time.Now()
	pki := must(tdxtest.NewPKI(now))
	quote := tdxtest.NewQuote(4, 2)
	copy(quote.Body.MRTD[:], "the firmware")
	copy(quote.Body.RTMR[1][:], "the kernel")
	copy(quote.Body.ReportData[:], "what the guest binds")
	c := must(pki.Collateral(tdxtest.NewCollateral(now)))
	machine := must(pki.NewPlatform(tdxtest.DefaultExtensions()))
	other := *quote
	copy(other.Body.RTMR[1][:], "another kernel")
	return platform{
		root: pki.Root.Cert, quote: must(machine.Quote(quote)), otherQuote: must(machine.Quote(&other)),
		published: fstest.MapFS{
			"tcb_info.json": {Data: c.TCBInfo}, "tcb_info_chain.pem": {Data: c.TCBInfoChain},
			"qe_identity.json": {Data: c.QEIdentity}, "qe_identity_chain.pem": {Data: c.QEIdentityChain},
			"pck.crl": {Data: c.PCKCRL}, "pck_crl_chain.pem": {Data: c.PCKCRLChain}, "root.crl": {Data: c.RootCRL},
		},
		mrtd: quote.Body.MRTD[:], rtmr1: quote.Body.RTMR[1][:], reportData: quote.Body.ReportData[:],
	}
}

type gpu struct {
	config              nvidia.Config
	document, nonce     []byte
	rims, ocsp          fs.FS
	deviceRoot, rimRoot [32]byte
}

func simulatedGPU() gpu {
	now := time.Now()
	pki := must(nvidiatest.New(nil))
	device := must(pki.Device(nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: nvidia.PDI{1}}))
	nonce := make([]byte, 32)
	copy(nonce, "a new one for every question")
	measured := make([]byte, 48)
	golden := func(index int) []nvidia.Golden {
		return []nvidia.Golden{{Index: index, Active: true, Values: [][]byte{measured}}}
	}
	report := must(device.Evidence(nvidiatest.ReportSpec{
		Nonce: nonce, Driver: "550.90.07", VBIOS: "96.00.9F.00.01", Measurements: map[int][]byte{0: measured, 1: measured},
	}))
	rims, ocsp := fstest.MapFS{}, fstest.MapFS{}
	respond := func(s *nvidiatest.Signer) {
		for _, r := range must(pki.AllGood(s, now.Add(-time.Hour), now.Add(time.Hour))) {
			ocsp[string(rune('a'+len(ocsp)))+".der"] = &fstest.MapFile{Data: r}
		}
	}
	respond(device.Issuer)
	for id, spec := range map[string]nvidiatest.RIMSpec{
		"NV_GPU_DRIVER_GH100_550.90.07":         {Version: "550.90.07", Golden: golden(0)},
		"NV_GPU_VBIOS_1010_0200_882_96009F0001": {Version: "96.00.9F.00.01", Golden: golden(1)},
	} {
		spec.Signer = must(pki.RIMSigner(spec))
		rims[id+".xml"] = &fstest.MapFile{Data: must(pki.RIM(spec))}
		respond(spec.Signer)
	}
	return gpu{
		config: pki.Config(), nonce: nonce, rims: rims, ocsp: ocsp,
		document:   must(nvidia.EncodeEvidence(nvidia.Evidence{Devices: []nvidia.Device{report}})),
		deviceRoot: sha256.Sum256(pki.DeviceRoot.Cert.Raw), rimRoot: sha256.Sum256(pki.RIMRoot.Cert.Raw),
	}
}
