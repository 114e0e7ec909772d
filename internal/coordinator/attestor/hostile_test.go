package attestor

import (
	"bytes"
	"context"
	"crypto/tls"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	guestsim "github.com/casemate-dev/casemate/internal/guest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/simulated/vendors"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake"
	"github.com/casemate-dev/casemate/pkg/enclave/guestclient"
)

// host is a machine whose owner is hostile: it runs enclaves that sign their
// evidence, and sees its disk and its network.
type host struct {
	backend *fake.Backend
	dir     string
	trusts  *judge.Judge
}

var vendorFolder = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "attestor-vendors-")
	if err != nil {
		return "", err
	}
	_, err = vendors.Open(filepath.Join(dir, "vendor"), time.Now())
	return filepath.Join(dir, "vendor"), err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := vendorFolder(); err == nil {
		_ = os.RemoveAll(filepath.Dir(dir))
	}
	os.Exit(code)
}

func newHost(t *testing.T) *host {
	t.Helper()
	folder, err := vendorFolder()
	if err != nil {
		t.Fatal(err)
	}
	v, err := vendors.Open(folder, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := &host{dir: t.TempDir()}
	h.backend, err = fake.New(fake.Config{
		Dir: h.dir,
		InProcess: func(ctx context.Context, dir string, powerOff <-chan struct{}) error {
			return guestsim.Run(ctx, guestsim.Options{Dir: dir, PowerOff: powerOff, Grace: time.Second})
		},
		Machine: func(enclave.Instance) ([]byte, error) { return v.Machine(vendors.Spec{TEE: attest.FormatSEVSNP}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.backend.Close() })
	policyText, err := os.ReadFile(filepath.Join(folder, vendors.PolicyFile))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse(policyText)
	if err != nil {
		t.Fatal(err)
	}
	rootText, err := os.ReadFile(filepath.Join(folder, vendors.RootsFile))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := judge.ParseRoots(rootText)
	if err != nil {
		t.Fatal(err)
	}
	published, err := collateral.NewCache(collateral.CacheConfig{Folder: filepath.Join(folder, vendors.CollateralFolder)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = published.Close() })
	if h.trusts, err = judge.New(judge.Config{Policy: p, SimulatedRoots: roots, SimulatedGetter: published}); err != nil {
		t.Fatal(err)
	}
	return h
}

// signed is an attestor that trusts the host's vendors.
func (h *host) signed(t *testing.T, seed byte, dial func(context.Context, string, string) (net.Conn, error)) *Attestor {
	t.Helper()
	a := attestor(t, key(t, seed), lax, dial)
	a.cfg.Judge = h.trusts
	return a
}

// holds says which files of the host's disk have this text in them.
func (h *host) holds(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	files := 0
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files were searched, %v: the test proves nothing", files, err)
	}
	return found
}

func failedChecks(v *model.Verdict) []string {
	var out []string
	for _, c := range v.Checks {
		if !c.OK {
			out = append(out, c.Name)
		}
	}
	return out
}

func TestTheHostHoldsNoPlaintextOfASecret(t *testing.T) {
	h := newHost(t)
	g := bootOn(t, h.backend, "c1-r1-1", key(t, 1), false, "")
	var mu sync.Mutex
	var wire bytes.Buffer
	a := h.signed(t, 1, func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		return &tap{Conn: c, mu: &mu, seen: &wire}, err
	})
	verdict, failure := g.judged(t, a)
	if failure != nil || verdict.Format != string(attest.FormatSEVSNP) {
		t.Fatalf("%s evidence was refused: %v", verdict.Format, failure)
	}
	if body := ask(t, g); !bytes.Contains([]byte(body), []byte("API_KEY")) {
		t.Fatalf("the workload says %s: it has no secret, the test proves nothing", body)
	}
	mu.Lock()
	defer mu.Unlock()
	if wire.Len() == 0 || bytes.Contains(wire.Bytes(), []byte(secretValue)) {
		t.Errorf("of %d bytes on the wire, the secret is among them: %t", wire.Len(), bytes.Contains(wire.Bytes(), []byte(secretValue)))
	}
	if found := h.holds(t, secretValue); found != nil {
		t.Errorf("the host's disk holds the secret: %v", found)
	}
}

// impostor ends TLS with a key of its own and answers every question with one
// document.
func impostor(t *testing.T, document []byte) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(document) }), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-served })
	return l.Addr().String()
}

func TestAReplayedDocumentIsRefused(t *testing.T) {
	h := newHost(t)
	g := bootOn(t, h.backend, "c1-r1-1", key(t, 1), false, "")
	if _, failure := g.judged(t, h.signed(t, 1, nil)); failure != nil {
		t.Fatal(failure)
	}
	c, err := guestclient.New(guestclient.Config{Endpoint: g.ref.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	old, _, err := c.Attestation(t.Context(), [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	replayed := g
	replayed.ref.Endpoint = impostor(t, old)
	verdict, failure, err := h.signed(t, 1, nil).Attest(t.Context(), container, replayed.ref, replayed.revision, replayed.spec)
	if err != nil || failure == nil {
		t.Fatalf("a replayed document was accepted: %v", err)
	}
	for _, want := range []string{evidence.CheckNonce, evidence.CheckKeyBinding, evidence.CheckReportData, judge.CheckFreshness} {
		if !slices.Contains(failedChecks(verdict), want) {
			t.Errorf("failed checks are %v, expected %s among them", failedChecks(verdict), want)
		}
	}
}

func TestEvidenceOfAnotherEnclaveIsRefused(t *testing.T) {
	h := newHost(t)
	one := bootOn(t, h.backend, "c1-r1-1", key(t, 1), false, "")
	other := bootOn(t, h.backend, "c2-r1-1", key(t, 1), false, "    env:\n      - OTHER: \"1\"\n")
	swapped := one
	swapped.ref.Endpoint = other.ref.Endpoint // the host leads us to another enclave of its own
	verdict, failure := swapped.judged(t, h.signed(t, 1, nil))
	if failure == nil {
		t.Fatal("evidence of another enclave was accepted")
	}
	for _, want := range []string{judge.CheckMeasurement, evidence.CheckConfig} {
		if !slices.Contains(failedChecks(verdict), want) {
			t.Errorf("failed checks are %v, expected %s among them", failedChecks(verdict), want)
		}
	}
}

// The neighbour runs the same release: only its platform part tells it apart.
func TestEvidenceOfANeighbourOfTheSameReleaseIsRefused(t *testing.T) {
	h := newHost(t)
	one := bootOn(t, h.backend, "c1-r1-1", key(t, 1), false, "")
	neighbour := bootOn(t, h.backend, "c2-r1-1", key(t, 2), false, "")
	swapped := one
	swapped.ref.Endpoint = neighbour.ref.Endpoint
	verdict, failure := swapped.judged(t, h.signed(t, 1, nil))
	if failure == nil || !slices.Contains(failedChecks(verdict), evidence.CheckPlatform) || slices.Contains(failedChecks(verdict), judge.CheckMeasurement) {
		t.Errorf("failed checks are %v, expected %s and not %s", failedChecks(verdict), evidence.CheckPlatform, judge.CheckMeasurement)
	}
}

func TestJudgingAgainDeliversNothing(t *testing.T) {
	h := newHost(t)
	g := bootOn(t, h.backend, "c1-r1-1", key(t, 1), false, "")
	if _, failure := g.judged(t, h.signed(t, 1, nil)); failure != nil {
		t.Fatal(failure)
	}
	a := h.signed(t, 1, nil)
	a.cfg.Secrets = values{} // reading one would fail
	verdict, failure, err := a.Judge(t.Context(), container, g.ref, g.revision, g.spec)
	if err != nil || failure != nil || !verdict.Accepted {
		t.Errorf("judged again: %v, %v", failure, err)
	}
	var none *engine.Failure
	if _, none, err = a.Attest(t.Context(), container, g.ref, g.revision, g.spec); err == nil && none == nil {
		t.Error("attesting read no secret: the test proves nothing")
	}
}
