package attestor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/internal/coordinator/vault"
	guestsim "github.com/casemate-dev/casemate/internal/guest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/enclave/guestclient"
)

const secretValue = "correct horse battery staple"

// values is a store of secrets.
type values map[string]string

func (v values) Value(_ context.Context, _, name string, _ int64) ([]byte, error) {
	if s, ok := v[name]; ok {
		return []byte(s), nil
	}
	return nil, errors.New("no such secret")
}

func key(t *testing.T, seed byte) *vault.Vault {
	t.Helper()
	v, err := vault.New(bytes.Repeat([]byte{seed}, vault.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func config(env string) []byte {
	return []byte(`cvm-version: 1.0.0
cpus: 1
memory: 1024
containers:
  - name: app
    image: registry.casemate.test/app@sha256:` + strings.Repeat("ab", 32) + `
    secrets: [API_KEY]
` + env + `
shim:
  upstream-port: 8080
`)
}

// guest is an enclave that boots in this process.
type guest struct {
	spec     *agentv1.EnclaveSpec
	revision model.Revision
	ref      model.EnclaveRef
}

func boot(t *testing.T, id string, v *vault.Vault, debug bool, env string) guest {
	t.Helper()
	b, err := fake.New(fake.Config{
		Dir: t.TempDir(),
		InProcess: func(ctx context.Context, dir string, powerOff <-chan struct{}) error {
			return guestsim.Run(ctx, guestsim.Options{Dir: dir, PowerOff: powerOff, Grace: time.Second})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return bootOn(t, b, id, v, debug, env)
}

func bootOn(t *testing.T, b *fake.Backend, id string, v *vault.Vault, debug bool, env string) guest {
	t.Helper()
	spec := &agentv1.EnclaveSpec{
		Org: "acme", Container: "api", ContainerUid: "c1", Revision: 1, Profile: agentv1.CvmProfile_CVM_PROFILE_NONE,
		CvmVersion: "1.0.0", Cpus: 1, MemoryMib: 1024, Config: config(env), ConfigName: "casemate.yml", Tag: "v1",
		Platform: &agentv1.Platform{
			ClusterId: "cl", SecretsKey: v.PublicKey(), Domain: "api.example", Secrets: []string{"API_KEY"}, Debug: debug,
		},
	}
	spec.ExpectedMeasurements = []string{simulated.MeasurementHex(spec)}
	events, err := b.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context(), enclave.Instance{ID: id, Spec: spec}); err != nil {
		t.Fatal(err)
	}
	g := guest{spec: spec, revision: model.Revision{Number: 1, Config: spec.GetConfig(), Debug: debug, Secrets: map[string]int64{"API_KEY": 1}, Manifest: &model.Manifest{Number: 1, SignedBy: "key x"}}}
	for {
		o, err := b.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if o.Phase == enclave.PhaseExited {
			t.Fatalf("the guest ended before it listened: %+v", o.Exit)
		}
		if o.Endpoint != "" {
			g.ref = model.EnclaveRef{ID: id, Host: "h1", Revision: 1, Endpoint: o.Endpoint}
			return g
		}
		select {
		case <-events:
		case <-t.Context().Done():
			t.Fatal("the guest does not listen")
		}
	}
}

// trust is what a coordinator accepts beyond real hardware.
type trust struct{ simulated, debug, unsigned bool }

func attestor(t *testing.T, v *vault.Vault, p trust, dial func(context.Context, string, string) (net.Conn, error)) *Attestor {
	t.Helper()
	accepted := judge.Vendors()
	if p.simulated {
		accepted.Simulated = &policy.Simulated{Unsigned: true}
	}
	j, err := judge.New(judge.Config{Policy: accepted})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{
		Log: slog.New(slog.DiscardHandler), Judge: j, AllowDebug: p.debug, AllowUnsigned: p.unsigned, Secrets: values{"API_KEY": secretValue},
		Signer: v.Signer(), Now: time.Now, Dial: dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// judged asks until the guest has come so far that it can answer, as the runner
// does; it waits for the guest's next stage in between.
func (g guest) judged(t *testing.T, a *Attestor) (*model.Verdict, *engine.Failure) {
	t.Helper()
	c, err := guestclient.New(guestclient.Config{Endpoint: g.ref.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var after uint64
	for {
		verdict, failure, err := a.Attest(t.Context(), container, g.ref, g.revision, g.spec)
		if err == nil {
			return verdict, failure
		}
		var refusal *guestapi.Refusal
		if !errors.As(err, &refusal) || refusal.Code != guestapi.CodeNotReady {
			t.Fatal(err)
		}
		after = next(t, c, after).Version
	}
}

// next waits a while for a guest to get further. One that failed never does.
func next(t *testing.T, c *guestclient.Client, after uint64) *guestapi.BootStatus {
	t.Helper()
	status, err := c.Boot(t.Context(), after, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if s, failed := status.Failed(); failed && s.Name != guestapi.StageHealth {
		t.Fatalf("the guest failed in %s: %s", s.Name, s.Reason)
	}
	return status
}

var container = model.ContainerKey{Org: "acme", Name: "api"}

var lax = trust{simulated: true}

func TestAGoodEnclaveIsAcceptedAndGetsItsSecrets(t *testing.T) {
	v := key(t, 1)
	g := boot(t, "c1-r1-1", v, false, "")
	verdict, failure := g.judged(t, attestor(t, v, lax, nil))
	if failure != nil {
		t.Fatalf("refused: %v", failure)
	}
	if !verdict.Accepted || !slices.Contains(verdict.Insecure, evidence.MarkSimulated) {
		t.Errorf("verdict %+v, want it accepted and marked simulated", verdict)
	}
	if body := ask(t, g); !strings.Contains(body, "API_KEY") || strings.Contains(body, secretValue) {
		t.Errorf("the workload says %s, want that it has API_KEY and not its value", body)
	}
	// After a crash of the coordinator the same is asked again.
	if _, failure := g.judged(t, attestor(t, v, lax, nil)); failure != nil {
		t.Errorf("the second time: %v", failure)
	}
}

// ask gets an answer of the workload once it is healthy.
func ask(t *testing.T, g guest) string {
	t.Helper()
	c, err := guestclient.New(guestclient.Config{Endpoint: g.ref.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for status := new(guestapi.BootStatus); !status.Ready; {
		status = next(t, c, status.Version)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true, //nolint:gosec // the test's own guest
	}}
	resp, err := client.Get("https://" + g.ref.Endpoint + "/") //nolint:noctx // bounded by the test
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("a guest that is ready answers %s: %s", resp.Status, body)
	}
	return string(body)
}

func TestEvidenceIsRefusedForItsReason(t *testing.T) {
	v := key(t, 1)
	good := boot(t, "c1-r1-1", v, false, "")
	debug := boot(t, "c1-r1-2", v, true, "")
	wrong := boot(t, "c1-r1-3", v, false, "    env:\n      - CASEMATE_SIM_FAULT: attestation-wrong\n")
	other := good
	other.revision.Config = append(slices.Clone(other.revision.Config), '\n')
	elsewhere := good
	elsewhere.spec = cloneSpec(good.spec)
	elsewhere.spec.Platform.Domain = "evil.example"
	unasked := debug
	unasked.revision.Debug = false
	unsigned := good
	unsigned.revision.Manifest = nil
	for _, tc := range []struct {
		rule   string
		guest  guest
		policy trust
		check  string
	}{
		{"simulated evidence needs a policy that names it", good, trust{}, simulated.CheckInsecureMode},
		{"a debug enclave needs a policy that names it", debug, lax, simulated.CheckDebugOff},
		{"a debug enclave needs a container that asked for it", unasked, trust{simulated: true, debug: true}, simulated.CheckDebugOff},
		{"a debug enclave that was asked for is accepted", debug, trust{simulated: true, debug: true}, ""},
		{"an unsigned release needs a policy that names it", unsigned, lax, CheckManifest},
		{"an unsigned release that the policy names is accepted", unsigned, trust{simulated: true, unsigned: true}, ""},
		{"another measurement is refused", wrong, lax, simulated.CheckMeasurement},
		{"another config is refused", other, lax, evidence.CheckConfig},
		{"another platform part is refused", elsewhere, lax, evidence.CheckPlatform},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			verdict, failure := tc.guest.judged(t, attestor(t, v, tc.policy, nil))
			if tc.check == "" {
				if failure != nil || !verdict.Accepted {
					t.Errorf("refused: %v", failure)
				}
				if marked := slices.Contains(verdict.Insecure, releases.Unsigned); marked != (tc.guest.revision.Manifest == nil) {
					t.Errorf("marks %v of a release with the manifest %v", verdict.Insecure, tc.guest.revision.Manifest)
				}
				return
			}
			if failure == nil || failure.Reason != "ATTESTATION_REFUSED" || verdict.Accepted {
				t.Fatalf("accepted: %+v, %v", verdict, failure)
			}
			if !slices.ContainsFunc(verdict.Checks, func(c model.Check) bool { return c.Name == tc.check && !c.OK }) {
				t.Errorf("checks %+v, want %s to fail", verdict.Checks, tc.check)
			}
		})
	}
}

func cloneSpec(s *agentv1.EnclaveSpec) *agentv1.EnclaveSpec {
	p := s.GetPlatform()
	return &agentv1.EnclaveSpec{
		Org: s.GetOrg(), Container: s.GetContainer(), ContainerUid: s.GetContainerUid(), Revision: s.GetRevision(), Profile: s.GetProfile(),
		CvmVersion: s.GetCvmVersion(), Cpus: s.GetCpus(), MemoryMib: s.GetMemoryMib(), Config: s.GetConfig(), ConfigName: s.GetConfigName(),
		Tag: s.GetTag(), ExpectedMeasurements: s.GetExpectedMeasurements(),
		Platform: &agentv1.Platform{ClusterId: p.GetClusterId(), SecretsKey: p.GetSecretsKey(), Domain: p.GetDomain(), Secrets: p.GetSecrets(), Debug: p.GetDebug()},
	}
}

// middle ends TLS on the host with a key of its own and passes everything on: it
// sees what whoever owns the host could see.
type middle struct {
	listener net.Listener
	mu       sync.Mutex
	seen     bytes.Buffer
}

func (m *middle) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen.Write(p)
}

func (m *middle) holds(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Contains(m.seen.String(), text)
}

func interpose(t *testing.T, endpoint string) *middle {
	t.Helper()
	cert := selfSigned(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{listener: l}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { m.join(c, endpoint) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return m
}

func (m *middle) join(client net.Conn, endpoint string) {
	guest, err := tls.Dial("tcp", endpoint, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}) //nolint:gosec,noctx // the attacker does not care
	if err != nil {
		_ = client.Close()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.MultiWriter(m, guest), client)
		_ = guest.Close()
	}()
	_, _ = io.Copy(io.MultiWriter(m, client), guest)
	_ = client.Close()
	<-done
}

func TestAManInTheMiddleGetsNoSecret(t *testing.T) {
	v := key(t, 1)
	g := boot(t, "c1-r1-1", v, false, "")
	m := interpose(t, g.ref.Endpoint)
	through := g
	through.ref.Endpoint = m.listener.Addr().String()
	verdict, failure, err := attestor(t, v, lax, nil).Attest(t.Context(), container, through.ref, through.revision, through.spec)
	if err != nil {
		t.Fatal(err)
	}
	if failure == nil || verdict.Accepted {
		t.Fatal("evidence that binds another key than the connection's was accepted")
	}
	if !slices.ContainsFunc(verdict.Checks, func(c model.Check) bool { return c.Name == evidence.CheckKeyBinding && !c.OK }) {
		t.Errorf("checks %+v, want key_binding to fail", verdict.Checks)
	}
	if !m.holds("tls_key_digest") {
		t.Fatal("the man in the middle saw no evidence: the test proves nothing")
	}
	if m.holds(secretValue) {
		t.Error("the man in the middle holds the secret")
	}
}

// TestOnlyCiphertextCrossesTheHost taps the connection of a good delivery.
func TestOnlyCiphertextCrossesTheHost(t *testing.T) {
	v := key(t, 1)
	g := boot(t, "c1-r1-1", v, false, "")
	var tapped bytes.Buffer
	var mu sync.Mutex
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		return &tap{Conn: c, mu: &mu, seen: &tapped}, err
	}
	if _, failure := g.judged(t, attestor(t, v, lax, dial)); failure != nil {
		t.Fatalf("refused: %v", failure)
	}
	mu.Lock()
	defer mu.Unlock()
	if tapped.Len() == 0 {
		t.Fatal("nothing was tapped: the test proves nothing")
	}
	if strings.Contains(tapped.String(), secretValue) || strings.Contains(tapped.String(), "API_KEY") {
		t.Error("the plain secret crossed the host")
	}
}

// tap keeps what crosses a connection.
type tap struct {
	net.Conn
	mu   *sync.Mutex
	seen *bytes.Buffer
}

func (c *tap) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.seen.Write(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func TestSecretsOfAnotherCoordinatorAreRefused(t *testing.T) {
	g := boot(t, "c1-r1-1", key(t, 1), false, "")
	_, failure := g.judged(t, attestor(t, key(t, 2), lax, nil))
	if failure == nil || failure.Reason != "SECRETS_REFUSED" {
		t.Errorf("got %v, want the guest to refuse another key's message", failure)
	}
}

func TestAGuestThatCantBeReachedIsWorthAnotherTry(t *testing.T) {
	v := key(t, 1)
	refused := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	_, failure, err := attestor(t, v, lax, refused).Attest(t.Context(), container, model.EnclaveRef{ID: "x", Endpoint: "127.0.0.1:443"}, model.Revision{}, &agentv1.EnclaveSpec{})
	if err == nil || failure != nil {
		t.Errorf("got %v, %v; want an error and no verdict", failure, err)
	}
	_, failure, err = attestor(t, v, lax, nil).Attest(t.Context(), container, model.EnclaveRef{ID: "x", Endpoint: "nonsense"}, model.Revision{}, &agentv1.EnclaveSpec{})
	if err != nil || failure == nil || failure.Reason != "BAD_ENDPOINT" {
		t.Errorf("got %v, %v; want BAD_ENDPOINT", failure, err)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	v := key(t, 1)
	endpoint := impostor(t, []byte(`{"version":99}`))
	verdict, failure, err := attestor(t, v, lax, nil).Attest(t.Context(), container, model.EnclaveRef{ID: "x", Endpoint: endpoint}, model.Revision{}, &agentv1.EnclaveSpec{})
	if err != nil || failure == nil || verdict.Accepted || verdict.Checks[0].Name != "evidence_document" {
		t.Errorf("got %+v, %v, %v; want the document refused", verdict, failure, err)
	}
}

// selfSigned makes a key that no evidence binds.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := newCertificate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x509.ParseCertificate(c.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	return c
}
