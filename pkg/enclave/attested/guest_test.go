package attested_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/enclave/attested"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "api.acme.test"

// identity is a TLS key with its certificate.
type identity struct {
	cert   tls.Certificate
	digest [32]byte
}

func newIdentity(t *testing.T, domains ...string) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signedBy(t, key, key, domains...)
}

// signedBy makes a certificate for a key, signed with another.
func signedBy(t *testing.T, key, signer *ecdsa.PrivateKey, domains ...string) identity {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: domains,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, sha256.Sum256(leaf.RawSubjectPublicKeyInfo)}
}

// guest shows simulated evidence as the real one does, and answers "hello" to all
// else. What it is can be changed while it runs.
type guest struct {
	t      *testing.T
	server *http.Server
	addr   string

	mu          sync.Mutex
	id          identity
	measurement [48]byte
	config      [32]byte
	platform    [32]byte
	edit        func(*evidence.Document)
	raw         func(answer []byte) []byte
	asked       int
	served      int
	version     uint16
	cut         bool
}

func launch(t *testing.T, id identity) *guest {
	t.Helper()
	g := &guest{t: t, id: id, measurement: sha512.Sum384([]byte("launch")), config: sha256.Sum256([]byte("config")), platform: sha256.Sum256([]byte("platform"))}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc(guestapi.AttestationPath, g.attest)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		g.mu.Lock()
		g.served++
		cut := g.cut
		g.mu.Unlock()
		if cut {
			g.cutShort(w)
			return
		}
		_, _ = io.WriteString(w, "hello")
	})
	g.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: g.tls},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.server.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() { _ = g.server.Close(); <-done })
	return g
}

// cutShort answers without a length, and ends TCP beneath TLS.
func (g *guest) cutShort(w http.ResponseWriter) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		g.t.Error(err)
		return
	}
	_, _ = rw.WriteString("HTTP/1.0 200 OK\r\n\r\nhel")
	_ = rw.Flush()
	if c, ok := conn.(*tls.Conn); ok {
		_ = c.NetConn().Close()
	}
}

// tls gives each connection the present key.
func (g *guest) tls(*tls.ClientHelloInfo) (*tls.Config, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &tls.Config{Certificates: []tls.Certificate{g.id.cert}, MinVersion: tls.VersionTLS12, MaxVersion: g.version}, nil
}

func (g *guest) attest(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	nonce, err := evidence.ParseNonce(r.URL.Query().Get(guestapi.NonceParam))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	answer := g.document(nonce)
	if g.raw != nil {
		answer = g.raw(answer)
	}
	_, _ = w.Write(answer)
}

func (g *guest) document(nonce [32]byte) []byte {
	doc := &evidence.Document{
		Format: attest.FormatSimulated, Nonce: nonce, TLSKeyDigest: g.id.digest,
		ConfigDigest: g.config, PlatformDigest: g.platform, Insecure: []string{evidence.MarkSimulated},
	}
	if g.edit != nil {
		g.edit(doc)
	}
	doc.Report = simulated.Report{
		Measurement: g.measurement, HostData: doc.PlatformDigest, ReportData: doc.ReportData(), Issued: time.Now(),
	}.Encode()
	raw, err := doc.Encode()
	if err != nil {
		g.t.Error(err)
	}
	return raw
}

// change changes the guest between requests.
func (g *guest) change(f func(*guest)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
}

func (g *guest) counts() (asked, served int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked, g.served
}

// lax accepts evidence that nobody signed.
func lax(t *testing.T) *judge.Judge {
	t.Helper()
	return judgeOf(t, &policy.Policy{Simulated: &policy.Simulated{Unsigned: true}})
}

func judgeOf(t *testing.T, p *policy.Policy) *judge.Judge {
	t.Helper()
	j, err := judge.New(judge.Config{Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// expected is the release that guests run unless they are changed.
func expected() *attested.Release {
	return &attested.Release{
		Name: "v1 of the test", ConfigDigest: sha256.Sum256([]byte("config")),
		Measurements: map[attest.Format][]judge.Measurement{attest.FormatSimulated: {{Launch: sha512.Sum384([]byte("another"))}, {Launch: sha512.Sum384([]byte("launch"))}}},
	}
}

func clientOf(t *testing.T, g *guest, edit func(*attested.Config)) *attested.Client {
	t.Helper()
	cfg := attested.Config{Domain: domain, Address: g.addr, Judge: lax(t), Release: expected()}
	if edit != nil {
		edit(&cfg)
	}
	c, err := attested.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// relay has what a man in the middle passes on of another guest: its answers over
// TLS connections that end in him.
func (g *guest) relay(from *guest) {
	g.change(func(g *guest) {
		g.raw = func([]byte) []byte {
			var nonce [32]byte
			_, _ = rand.Read(nonce[:])
			return from.document(nonce)
		}
	})
}

func nonceOf(t *testing.T, answer []byte) [32]byte {
	t.Helper()
	doc, err := evidence.Parse(bytes.TrimSpace(answer))
	if err != nil {
		t.Error(err)
		return [32]byte{}
	}
	return doc.Nonce
}
