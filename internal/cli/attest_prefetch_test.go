package cli

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// pcs is a server that publishes the collateral of a test platform.
type pcs struct {
	*httptest.Server
	collateral *tdx.Collateral
	quote, ca  string // files
	root       string
	broken     bool
}

func newPCS(t *testing.T) *pcs {
	t.Helper()
	pki, err := tdxtest.NewPKI(attestNow)
	if err != nil {
		t.Fatal(err)
	}
	platform, err := pki.NewPlatform(tdxtest.DefaultExtensions())
	if err != nil {
		t.Fatal(err)
	}
	q := tdxtest.NewQuote(4, 2)
	q.Chain = platform.Chain
	raw, err := platform.Quote(q)
	if err != nil {
		t.Fatal(err)
	}
	p := &pcs{quote: attestWrite(t, "quote", raw), root: attestWrite(t, "root.pem", tdxtest.ChainPEM(pki.Root.Cert))}
	if p.collateral, err = pki.Collateral(tdxtest.NewCollateral(attestNow)); err != nil {
		t.Fatal(err)
	}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	p.ca = attestWrite(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
	return p
}

func (p *pcs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := p.collateral
	answer := map[string]struct {
		header      string
		chain, body []byte
	}{
		"/tdx/certification/v4/tcb":         {"TCB-Info-Issuer-Chain", c.TCBInfoChain, c.TCBInfo},
		"/tdx/certification/v4/qe/identity": {"SGX-Enclave-Identity-Issuer-Chain", c.QEIdentityChain, c.QEIdentity},
		"/sgx/certification/v4/pckcrl":      {"SGX-PCK-CRL-Issuer-Chain", c.PCKCRLChain, c.PCKCRL},
		"/IntelSGXRootCA.der":               {"X-None", nil, c.RootCRL},
	}[r.URL.Path]
	if answer.body == nil || p.broken {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set(answer.header, url.PathEscape(string(answer.chain)))
	_, _ = w.Write(answer.body)
}

func (p *pcs) args(folder string, more ...string) []string {
	return append([]string{"attest", "prefetch", "-o", "json", "--format", "tdx", "--evidence", p.quote, "--cache", folder, "--ca", p.ca,
		"--address", "intel_pcs=" + p.URL, "--address", "intel_roots=" + p.URL}, more...)
}

func prefetchedFiles(t *testing.T, r attestResult) []prefetched {
	t.Helper()
	var out struct{ Documents []prefetched }
	if err := json.Unmarshal([]byte(r.out), &out); err != nil {
		t.Fatalf("%v\nstdout %s\nstderr %s", err, r.out, r.err)
	}
	return out.Documents
}

func TestWhatWasPrefetchedIsEnoughToVerifyOffline(t *testing.T) {
	p, folder := newPCS(t), filepath.Join(t.TempDir(), "cache")
	r := runOffline(t, p.args(folder)...)
	docs := prefetchedFiles(t, r)
	if r.code != 0 || len(docs) != 4 || docs[0].Expires == "" || docs[0].Error != "" {
		t.Fatalf("exit code %d, documents %+v, %s; want four with their ends", r.code, docs, r.err)
	}
	p.Close()
	v := runOffline(t, "attest", "verify", "-o", "json", "--format", "tdx", "--evidence", p.quote,
		"--collateral", filepath.Dir(docs[0].File), "--root", p.root).verdictOf(t)
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	// The services are gone; the folder serves.
	if r := runOffline(t, p.args(folder)...); r.code != 0 {
		t.Errorf("all is there, and exit code %d: %s%s", r.code, r.out, r.err)
	}
	r = runOffline(t, "attest", "prefetch", "--offline", "--format", "tdx", "--evidence", p.quote, "--cache", folder)
	if r.code != 0 || strings.Count(r.out, "✓") != 4 {
		t.Errorf("offline: exit code %d, %s%s", r.code, r.out, r.err)
	}
}

func TestWhatCantBeHadIsNamedWithExitCodeOne(t *testing.T) {
	p := newPCS(t)
	p.broken = true
	r := runOffline(t, p.args(t.TempDir())...)
	docs := prefetchedFiles(t, r)
	if r.code != 1 || len(docs) != 4 || !strings.Contains(docs[0].Error, "no such document") {
		t.Errorf("exit code %d, documents %+v; want 1 and the reason", r.code, docs)
	}
	r = runOffline(t, "attest", "prefetch", "--offline", "--format", "tdx", "--evidence", p.quote, "--cache", t.TempDir())
	if r.code != 1 || strings.Count(r.out, "✗") != 4 || !strings.Contains(r.out, "offline") {
		t.Errorf("an empty folder, offline: exit code %d, %s%s", r.code, r.out, r.err)
	}
	// Only the services that are named are asked.
	r = runOffline(t, "attest", "prefetch", "-o", "json", "--format", "tdx", "--evidence", p.quote, "--cache", t.TempDir(), "--address", "amd_kds="+p.URL)
	for _, d := range prefetchedFiles(t, r) {
		if !strings.Contains(d.Error, "no address is configured") {
			t.Errorf("%s: %q, want that no address is configured", d.File, d.Error)
		}
	}
}

func TestPrefetchRefusesWhatItCantUse(t *testing.T) {
	p := newPCS(t)
	junk := attestWrite(t, "junk", []byte("junk"))
	good := func(more ...string) []string {
		return append([]string{"--format", "tdx", "--evidence", p.quote, "--cache", t.TempDir()}, more...)
	}
	for _, c := range []struct {
		rule string
		args []string
		says string
	}{
		{"no format", []string{"--evidence", p.quote, "--cache", t.TempDir()}, "--format"},
		{"no evidence", []string{"--format", "tdx", "--cache", t.TempDir()}, "--evidence"},
		{"no folder", []string{"--format", "tdx", "--evidence", p.quote}, "--cache"},
		{"evidence that isn't there", []string{"--format", "tdx", "--evidence", junk + "x", "--cache", t.TempDir()}, "no such file"},
		{"junk as quote", []string{"--format", "tdx", "--evidence", junk, "--cache", t.TempDir()}, "quote"},
		{"junk as report", []string{"--format", "sev-snp", "--evidence", junk, "--cache", t.TempDir()}, "report"},
		{"junk as GPUs' evidence", []string{"--format", "nvidia", "--evidence", junk, "--cache", t.TempDir()}, "--evidence"},
		{"a product for TDX", good("--product", "Milan"), "--product"},
		{"an unknown product", []string{"--format", "sev-snp", "--evidence", junk, "--cache", t.TempDir(), "--product", "Rome"}, "--product"},
		{"staleness below 0", good("--allow-stale", "-1s"), "--allow-stale"},
		{"an address without service", good("--address", "https://x"), "--address"},
		{"an address of no service", good("--address", "azure=https://x"), "--address"},
		{"an address without TLS", good("--address", "intel_pcs=http://x"), "--address"},
		{"junk as CA", good("--ca", junk), "--ca"},
		{"a CA that isn't there", good("--ca", junk+"x"), "--ca"},
		{"a file as folder", []string{"--format", "tdx", "--evidence", p.quote, "--cache", junk, "--offline"}, "--cache"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			runOffline(t, append([]string{"attest", "prefetch", "-o", "json"}, c.args...)...).wantUnusable(t, c.says)
		})
	}
	if left, err := os.ReadDir(filepath.Dir(junk)); err != nil || len(left) != 1 {
		t.Errorf("files were written beside the evidence: %v, %v", left, err)
	}
}
