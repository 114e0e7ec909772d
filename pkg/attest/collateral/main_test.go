package collateral_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what tests wait for; nothing takes nearly as long.
const patience = 2 * time.Minute

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// vendor is a server that stands in for a vendor's services.
type vendor struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	serve http.HandlerFunc
	// closing ends when the test does.
	closing chan struct{}
}

// closingKey is where a handler finds vendor.closing.
type closingKey struct{}

// hang waits until the test is over: a server that doesn't notice that its client
// is gone.
func hang(r *http.Request) { <-r.Context().Value(closingKey{}).(chan struct{}) }

func newVendor(t testing.TB, serve http.HandlerFunc) *vendor {
	t.Helper()
	v := &vendor{serve: serve, closing: make(chan struct{})}
	v.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		v.asked = append(v.asked, r.Method+" "+r.URL.RequestURI())
		serve := v.serve
		v.mu.Unlock()
		serve(w, r.WithContext(context.WithValue(r.Context(), closingKey{}, v.closing)))
	}))
	t.Cleanup(func() {
		close(v.closing)
		v.Close()
	})
	return v
}

func (v *vendor) requests() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.asked...)
}

// getter asks the vendor for everything.
func (v *vendor) getter(t testing.TB, timeout time.Duration) *collateral.HTTP {
	t.Helper()
	addresses := map[collateral.Service]string{}
	for s := range collateral.VendorAddresses() {
		addresses[s] = v.URL
	}
	g, err := collateral.NewHTTP(collateral.HTTPConfig{Addresses: addresses, Transport: v.Client().Transport, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// intel publishes the collateral of a test platform.
type intel struct {
	pki      *tdxtest.PKI
	platform *tdxtest.Platform
	now      *tdx.Collateral
}

func newIntel(t testing.TB, at time.Time) *intel {
	t.Helper()
	pki, err := tdxtest.NewPKI(at)
	if err != nil {
		t.Fatal(err)
	}
	platform, err := pki.NewPlatform(tdxtest.DefaultExtensions())
	if err != nil {
		t.Fatal(err)
	}
	return &intel{pki: pki, platform: platform, now: publish(t, pki, at)}
}

func publish(t testing.TB, pki *tdxtest.PKI, at time.Time) *tdx.Collateral {
	t.Helper()
	c, err := pki.Collateral(tdxtest.NewCollateral(at))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (i *intel) quote(t testing.TB) []byte {
	t.Helper()
	q := tdxtest.NewQuote(4, 2)
	q.Chain = i.platform.Chain
	raw, err := i.platform.Quote(q)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// requests lists what the quote needs: TCB info, QE identity, PCK CRL, root CRL.
func (i *intel) requests(t testing.TB) []collateral.Request {
	t.Helper()
	out, err := collateral.ForQuote(i.quote(t))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ServeHTTP answers as the PCS does.
func (i *intel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	chain := func(header string, pem []byte) { w.Header().Set(header, url.PathEscape(string(pem))) }
	var body []byte
	switch r.URL.Path {
	case "/tdx/certification/v4/tcb":
		chain("TCB-Info-Issuer-Chain", i.now.TCBInfoChain)
		body = i.now.TCBInfo
	case "/tdx/certification/v4/qe/identity":
		chain("SGX-Enclave-Identity-Issuer-Chain", i.now.QEIdentityChain)
		body = i.now.QEIdentity
	case "/sgx/certification/v4/pckcrl":
		chain("SGX-PCK-CRL-Issuer-Chain", i.now.PCKCRLChain)
		body = i.now.PCKCRL
	case "/IntelSGXRootCA.der":
		body = i.now.RootCRL
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = w.Write(body)
}

// getterFunc is a Getter of one function.
type getterFunc func(context.Context, collateral.Request) (*collateral.Document, error)

func (f getterFunc) Get(ctx context.Context, r collateral.Request) (*collateral.Document, error) {
	return f(ctx, r)
}

func vectorFile(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("CASEMATE_VECTORS")
	if dir == "" {
		t.Skip("NOT RUN: requests for recorded evidence; set CASEMATE_VECTORS to its folder")
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
