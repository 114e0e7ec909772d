package collateral_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-sev-guest/kds"
	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
)

func TestVCEKRequestsNameChipAndTCB(t *testing.T) {
	chip := bytes.Repeat([]byte{0xab}, 64)
	tcb := sevsnp.TCB{FMC: 1, Bootloader: 3, TEE: 2, SNP: 8, Microcode: 115}
	for _, c := range []struct {
		product sevsnp.Product
		path    string
	}{
		{sevsnp.Milan, "/vcek/v1/Milan/" + strings.Repeat("ab", 64) + "?blSPL=3&teeSPL=2&snpSPL=8&ucodeSPL=115"},
		{sevsnp.Genoa, "/vcek/v1/Genoa/" + strings.Repeat("ab", 64) + "?blSPL=3&teeSPL=2&snpSPL=8&ucodeSPL=115"},
		{sevsnp.Turin, "/vcek/v1/Turin/" + strings.Repeat("ab", 8) + "?fmcSPL=1&blSPL=3&teeSPL=2&snpSPL=8&ucodeSPL=115"},
	} {
		r, err := collateral.VCEK(c.product, chip, tcb)
		if err != nil {
			t.Fatal(err)
		}
		if r.Path != c.path {
			t.Errorf("%v: path %s, want %s", c.product, r.Path, c.path)
		}
	}
	r, err := collateral.VCEK(sevsnp.Milan, chip, tcb)
	if err != nil {
		t.Fatal(err)
	}
	version, err := kds.ComposeTCBParts(kds.TCBParts{BlSpl: 3, TeeSpl: 2, SnpSpl: 8, UcodeSpl: 115})
	if err != nil {
		t.Fatal(err)
	}
	if theirs := kds.VCEKCertURL("Milan", chip, version); collateral.VendorAddresses()[collateral.AMDKDS]+r.Path != theirs {
		t.Errorf("path %s, go-sev-guest asks %s", r.Path, theirs)
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	chip := bytes.Repeat([]byte{1}, 64)
	for rule, err := range map[string]error{
		"unknown product":     second(collateral.VCEK(sevsnp.ProductUnknown, chip, sevsnp.TCB{})),
		"chip id too short":   second(collateral.VCEK(sevsnp.Milan, chip[:63], sevsnp.TCB{})),
		"masked chip id":      second(collateral.VCEK(sevsnp.Milan, make([]byte, 64), sevsnp.TCB{})),
		"chain of no product": second(collateral.AMDChainOf(sevsnp.ProductUnknown, sevsnp.VCEK)),
		"CRL of no key":       second(collateral.AMDCRLOf(sevsnp.Milan, 7)),
		"no PCK authority":    second(collateral.ForPlatform([6]byte{}, "root")),
		"empty RIM id":        second(collateral.RIM("")),
		"RIM id with a slash": second(collateral.RIM("NV/../../x")),
		"RIM id with dots":    second(collateral.RIM("a..b")),
		"RIM id with a query": second(collateral.RIM("NV?x=1")),
		"RIM id of 129 bytes": second(collateral.RIM(strings.Repeat("a", 129))),
		"garbage as report":   second(collateral.ForReport([]byte("x"), sevsnp.Milan)),
		"garbage as quote":    second(collateral.ForQuote([]byte("x"))),
		"garbage as RIM":      second(collateral.ForRIM([]byte("<x/>"))),
		"evidence of nothing": second(collateral.ForDevices(nvidia.Evidence{Devices: []nvidia.Device{{}}})),
	} {
		if err == nil {
			t.Errorf("%s: a request was made", rule)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestAReportNeedsCertificateChainAndList(t *testing.T) {
	for _, c := range []struct {
		product sevsnp.Product
		key     sevsnp.KeyKind
		paths   []string
	}{
		{sevsnp.Genoa, sevsnp.VCEK, []string{"/vcek/v1/Genoa/", "/vcek/v1/Genoa/cert_chain", "/vcek/v1/Genoa/crl"}},
		{sevsnp.Turin, sevsnp.VCEK, []string{"/vcek/v1/Turin/", "/vcek/v1/Turin/cert_chain", "/vcek/v1/Turin/crl"}},
		{sevsnp.Milan, sevsnp.VLEK, []string{"/vlek/v1/Milan/cert_chain", "/vlek/v1/Milan/crl"}},
	} {
		s, err := sevsnptest.NewSigner(c.product, now)
		if err != nil {
			t.Fatal(err)
		}
		report := s.Report()
		report.Signer = sevsnp.SignerInfo(uint32(c.key) << 2)
		requests, err := collateral.ForReport(report.Marshal(), sevsnp.ProductUnknown)
		if err != nil {
			t.Fatal(err)
		}
		if len(requests) != len(c.paths) {
			t.Fatalf("%v %v: %d requests, want %v", c.product, c.key, len(requests), c.paths)
		}
		for i, r := range requests {
			if !strings.HasPrefix(r.Path, c.paths[i]) || !strings.HasPrefix(r.File, "amd/"+c.product.String()+"/") {
				t.Errorf("%v %v: path %s in file %s, want %s…", c.product, c.key, r.Path, r.File, c.paths[i])
			}
		}
	}
}

func TestAReportOfVersion2NeedsItsProductSaid(t *testing.T) {
	raw, err := hex.DecodeString(strings.TrimSpace(string(vectorFile(t, "sevsnp/milan-report.hex"))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collateral.ForReport(raw, sevsnp.ProductUnknown); err == nil || !strings.Contains(err.Error(), "say which product") {
		t.Errorf("error %v, want one that asks for the product", err)
	}
	requests, err := collateral.ForReport(raw, sevsnp.Milan)
	if err != nil {
		t.Fatal(err)
	}
	if want := "blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115"; !strings.HasSuffix(requests[0].Path, want) {
		t.Errorf("path %s, want …%s", requests[0].Path, want)
	}
}

func TestAQuoteNeedsWhatIntelPublishesOfItsPlatform(t *testing.T) {
	var files []string
	for _, r := range newIntel(t, now).requests(t) {
		files = append(files, r.File)
	}
	got := strings.Join(files, " ")
	for _, name := range []string{"/tcb_info.json", "/qe_identity.json", "/pck.crl", "/root.crl"} {
		if !strings.Contains(got, name) {
			t.Errorf("files %s, want one named %s", got, name)
		}
	}
	requests, err := collateral.ForQuote(vectorFile(t, "tdx/tdx_quote"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "/tdx/certification/v4/tcb?fmspc=b0c06f000000"; requests[0].Path != want {
		t.Errorf("path %s, want %s", requests[0].Path, want)
	}
}

func TestDevicesNeedRIMsAndResponses(t *testing.T) {
	e, err := nvidia.ParseEvidence(vectorFile(t, "nvidia/evidence/hopper_evidence.json"))
	if err != nil {
		t.Fatal(err)
	}
	requests, err := collateral.ForDevices(e)
	if err != nil {
		t.Fatal(err)
	}
	count := map[collateral.Kind]int{}
	for _, r := range requests {
		count[r.Kind]++
		if r.Kind == collateral.NVIDIAOCSP {
			if q, err := ocsp.ParseRequest(r.Body); err != nil || q.SerialNumber.Sign() == 0 {
				t.Errorf("the OCSP request can't be read: %v", err)
			}
		}
	}
	if count[collateral.NVIDIARIM] != 2 || count[collateral.NVIDIAOCSP] != 3 {
		t.Errorf("requests %v, want 2 RIMs and 3 responses: of device, provisioner and product", count)
	}
	more, err := collateral.ForRIM(vectorFile(t, "nvidia/rim/NV_GPU_DRIVER_GH100_550.90.07.xml"))
	if err != nil || len(more) != 3 {
		t.Errorf("%d requests for a RIM's chain of four, want 3: %v", len(more), err)
	}
}
