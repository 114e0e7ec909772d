package collateral_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
)

// hand returns what a cache keeps of a body that some Getter hands over.
func hand(t testing.TB, r collateral.Request, body []byte) (*collateral.Document, error) {
	t.Helper()
	cache, err := collateral.NewCache(collateral.CacheConfig{
		Folder: t.TempDir(), Clock: func() time.Time { return now },
		Next: getterFunc(func(context.Context, collateral.Request) (*collateral.Document, error) {
			return &collateral.Document{Body: body}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	}()
	return cache.Get(t.Context(), r)
}

func TestAMDsDocumentsAreToldApart(t *testing.T) {
	s, err := sevsnptest.NewSigner(sevsnp.Genoa, now.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ev, err := s.Sign(s.Report())
	if err != nil {
		t.Fatal(err)
	}
	crl, err := s.CRL(now.Add(-time.Hour), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ended, err := s.CRL(now.Add(-2*time.Hour), now.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	requests, err := collateral.ForReport(ev.Report, sevsnp.ProductUnknown)
	if err != nil {
		t.Fatal(err)
	}
	milan, err := collateral.AMDChainOf(sevsnp.Milan, sevsnp.VCEK)
	if err != nil {
		t.Fatal(err)
	}
	vcek, chain, list := requests[0], requests[1], requests[2]
	for _, c := range []struct {
		rule string
		req  collateral.Request
		body []byte
		ok   bool
	}{
		{"certificate", vcek, ev.VEK, true},
		{"chain", chain, s.Chain(sevsnp.VCEK), true},
		{"chain with stray line ends", chain, append(s.Chain(sevsnp.VCEK), "\r\n\r\n"...), true},
		{"list", list, crl, true},
		{"list that has ended", list, ended, false},
		{"chain for a certificate", vcek, s.Chain(sevsnp.VCEK), false},
		{"certificate for a chain", chain, ev.VEK, false},
		{"chain of another product", milan, s.Chain(sevsnp.VCEK), false},
		{"certificate for a list", list, ev.VEK, false},
		{"a certificate of another kind", vcek, s.Roots()[0].Certificate.Raw, false},
		{"text behind the chain", chain, append(s.Chain(sevsnp.VCEK), "more"...), false},
		{"a key in the chain", chain, append(s.Chain(sevsnp.VCEK), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"...), false},
		{"a garbled certificate in the chain", chain, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), false},
		{"too large", vcek, make([]byte, 1<<20), false},
	} {
		_, err := hand(t, c.req, c.body)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, collateral.ErrContent) {
			t.Errorf("%s: kept=%t, want %t: %v", c.rule, err == nil, c.ok, err)
		}
	}
}

func TestIntelsDocumentsWithoutAnEndAreRefused(t *testing.T) {
	requests := newIntel(t, now).requests(t)
	for rule, c := range map[string]struct {
		req  collateral.Request
		body string
	}{
		"TCB info":             {requests[0], `{"tcbInfo":{"id":"TDX","fmspc":"b0c06f000000"}}`},
		"TCB info of SGX":      {requests[0], `{"tcbInfo":{"id":"SGX","fmspc":"b0c06f000000","nextUpdate":"2027-01-01T00:00:00Z"}}`},
		"QE identity":          {requests[1], `{"enclaveIdentity":{"id":"TD_QE"}}`},
		"QE identity of SGX":   {requests[1], `{"enclaveIdentity":{"id":"QE","nextUpdate":"2027-01-01T00:00:00Z"}}`},
		"QE identity, no JSON": {requests[1], `{`},
		"unknown kind":         {collateral.Request{Kind: "x", Service: collateral.IntelPCS, Path: "/", File: "x"}, `x`},
	} {
		if _, err := hand(t, c.req, []byte(c.body)); !errors.Is(err, collateral.ErrContent) {
			t.Errorf("%s: %v, want %v", rule, err, collateral.ErrContent)
		}
	}
}

// nvidiaVendor answers as NVIDIA's RIM service and OCSP responder do.
func nvidiaVendor(t testing.TB, pki *nvidiatest.PKI, device *nvidiatest.Device, rims map[string][]byte) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		if id, ok := strings.CutPrefix(r.URL.Path, "/v1/rim/"); ok {
			if rims[id] == nil {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			_, _ = w.Write(mustJSON(t, map[string]string{"id": id, "rim": base64.StdEncoding.EncodeToString(rims[id]), "sha256": hexSum(rims[id])}))
			return
		}
		body := make([]byte, 4096)
		n, _ := r.Body.Read(body)
		q, err := ocsp.ParseRequest(body[:n])
		if err != nil || r.Header.Get("Content-Type") != "application/ocsp-request" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for s := device.Signer; s != nil; s = s.Issuer {
			if s.Cert.SerialNumber.Cmp(q.SerialNumber) == 0 {
				answer, err := pki.OCSP(nvidiatest.OCSPSpec{Subject: s, Status: ocsp.Good, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(day)})
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(answer)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
	}
}

func hexSum(b []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, c := range sha256.Sum256(b) {
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}

func TestWhatNVIDIAPublishesIsFetched(t *testing.T) {
	pki, err := nvidiatest.New([]byte("a seed of sixteen bytes"))
	if err != nil {
		t.Fatal(err)
	}
	device, err := pki.Device(nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: nvidia.PDI{1}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := device.Evidence(nvidiatest.ReportSpec{Nonce: make([]byte, 32), Driver: "550.90.07", VBIOS: "96.00.9F.00.01"})
	if err != nil {
		t.Fatal(err)
	}
	requests, err := collateral.ForDevices(nvidia.Evidence{Devices: []nvidia.Device{d}})
	if err != nil {
		t.Fatal(err)
	}
	driver, err := pki.RIM(nvidiatest.RIMSpec{Version: "550.90.07", Golden: []nvidia.Golden{{Active: true, Values: [][]byte{make([]byte, 48)}}}})
	if err != nil {
		t.Fatal(err)
	}
	v := newVendor(t, nvidiaVendor(t, pki, device, map[string][]byte{"NV_GPU_DRIVER_GH100_550.90.07": driver}))
	outcomes, err := collateral.Prefetch(t.Context(), v.getter(t, patience), requests)
	if err != nil {
		t.Fatal(err)
	}
	got := map[collateral.Kind]int{}
	for _, o := range outcomes {
		if o.Err == nil {
			got[o.Request.Kind]++
		} else if !errors.Is(o.Err, collateral.ErrNotFound) {
			t.Errorf("%s: %v", o.Request.File, o.Err)
		}
	}
	if got[collateral.NVIDIARIM] != 1 || got[collateral.NVIDIAOCSP] < 3 {
		t.Errorf("fetched %v, want the driver's RIM and a response for each certificate of the device", got)
	}
	if len(outcomes) < len(requests)+3 {
		t.Errorf("%d outcomes of %d requests: the certificates in the RIM were not asked about", len(outcomes), len(requests))
	}

	rim := requests[0]
	for rule, body := range map[string]string{
		"no JSON":        `<html>`,
		"another RIM":    `{"id":"other","rim":""}`,
		"no base64":      `{"id":"NV_GPU_DRIVER_GH100_550.90.07","rim":"*"}`,
		"another digest": `{"id":"NV_GPU_DRIVER_GH100_550.90.07","rim":"` + base64.StdEncoding.EncodeToString(driver) + `","sha256":"00"}`,
		"no RIM in it":   `{"id":"NV_GPU_DRIVER_GH100_550.90.07","rim":""}`,
	} {
		bad := newVendor(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		if _, err := bad.getter(t, patience).Get(t.Context(), rim); !errors.Is(err, collateral.ErrContent) {
			t.Errorf("%s: %v, want %v", rule, err, collateral.ErrContent)
		}
	}
}

func TestAResponseForAnotherCertificateIsRefused(t *testing.T) {
	pki, err := nvidiatest.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := pki.OCSP(nvidiatest.OCSPSpec{Subject: pki.RIMIssuer, Status: ocsp.Good, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(day)})
	if err != nil {
		t.Fatal(err)
	}
	own, err := collateral.OCSP(pki.RIMIssuer.Cert, pki.RIMAuthority.Cert)
	if err != nil {
		t.Fatal(err)
	}
	other, err := collateral.OCSP(pki.RIMAuthority.Cert, pki.RIMRoot.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hand(t, own, answer); err != nil {
		t.Error(err)
	}
	if _, err := hand(t, other, answer); !errors.Is(err, collateral.ErrContent) {
		t.Errorf("error %v, want %v", err, collateral.ErrContent)
	}
}

func FuzzDocuments(f *testing.F) {
	requests, err := collateral.ForPlatform([6]byte{0xb0, 0xc0, 0x6f}, collateral.Platform)
	if err != nil {
		f.Fatal(err)
	}
	rim, err := collateral.RIM("NV_GPU_DRIVER_GH100_550.90.07")
	if err != nil {
		f.Fatal(err)
	}
	chain, err := collateral.AMDChainOf(sevsnp.Milan, sevsnp.VCEK)
	if err != nil {
		f.Fatal(err)
	}
	all := append(requests, rim, chain)
	f.Add(uint8(0), []byte(`{"tcbInfo":{"id":"TDX","fmspc":"b0c06f000000","nextUpdate":"2027-01-01T00:00:00Z"}}`))
	f.Add(uint8(1), []byte(`{"enclaveIdentity":{"id":"TD_QE","nextUpdate":"2027-01-01T00:00:00Z"}}`))
	f.Add(uint8(2), []byte{0x30, 0})
	f.Add(uint8(4), []byte("<SoftwareIdentity/>"))
	f.Add(uint8(5), []byte("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		r := all[int(which)%len(all)]
		d, err := hand(t, r, body)
		if err == nil && !d.Expires.IsZero() && !d.Expires.After(now) {
			t.Errorf("a document that has ended was kept: %s", d.Expires)
		}
		if r.Kind == collateral.NVIDIARIM {
			if _, err := collateral.ForRIM(body); err == nil && len(body) == 0 {
				t.Error("an empty RIM was read")
			}
		}
	})
}
