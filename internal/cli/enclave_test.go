package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
	guestsim "github.com/casemate-dev/casemate/internal/guest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

const enclaveConfig = `cvm-version: 1.0.0
cpus: 1
memory: 1024
containers:
  - name: app
    image: registry.casemate.test/app@sha256:abababababababababababababababababababababababababababababababab
shim:
  upstream-port: 8080
`

// enclaveDomain is that of every enclave of these tests, and of the container web.
const enclaveDomain = "web.example.com"

// bootEnclave boots the real guest in this process and returns its spec and endpoint.
func bootEnclave(t *testing.T, fault string) (*agentv1.EnclaveSpec, string) {
	t.Helper()
	config := enclaveConfig
	if fault != "" {
		config = strings.Replace(config, "shim:", "    env:\n      - CASEMATE_SIM_FAULT: "+fault+"\nshim:", 1)
	}
	spec := &agentv1.EnclaveSpec{
		Org: "acme", Container: "web", ContainerUid: "c1", Revision: 1, Profile: agentv1.CvmProfile_CVM_PROFILE_NONE,
		CvmVersion: "1.0.0", Cpus: 1, MemoryMib: 1024, Config: []byte(config), ConfigName: "casemate.yml", Tag: "v1",
		Platform: &agentv1.Platform{ClusterId: "cl", Domain: enclaveDomain, SecretsKey: make([]byte, 32)},
	}
	b, err := fake.New(fake.Config{Dir: t.TempDir(), InProcess: func(ctx context.Context, dir string, powerOff <-chan struct{}) error {
		return guestsim.Run(ctx, guestsim.Options{Dir: dir, PowerOff: powerOff, Grace: time.Second})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	events, err := b.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context(), enclave.Instance{ID: "c1-r1-1", Spec: spec}); err != nil {
		t.Fatal(err)
	}
	for {
		o, err := b.Get(t.Context(), "c1-r1-1")
		if err != nil {
			t.Fatal(err)
		}
		if o.Endpoint != "" {
			return spec, o.Endpoint
		}
		if o.Phase == enclave.PhaseExited {
			t.Fatalf("the enclave ended: %+v", o.Exit)
		}
		<-events
	}
}

// releaseFiles writes the signed manifest of an enclave's release, the key that
// signed it and a policy that accepts simulated evidence.
func releaseFiles(t *testing.T, spec *agentv1.EnclaveSpec) (signed, key, policy string) {
	t.Helper()
	config, _, err := release.Parse("casemate.yml", spec.GetConfig())
	if err != nil {
		t.Fatal(err)
	}
	digest := measure.Digest(simulated.Measurement(simulated.ShapeOf(spec)))
	m := &manifest.Manifest{
		Version: manifest.Version, Repository: "https://github.com/acme/web", Tag: "v1", Commit: strings.Repeat("ab", 20), Number: 7,
		Created: now, Config: manifest.Config{Name: "casemate.yml", Digest: "sha256:" + digestHex(config.Digest()), CVM: "1.0.0"},
		Images:   config.Images(),
		Expected: []manifest.Expected{{Platform: attest.FormatSimulated, Shape: "dev", CPUs: 1, MemoryMiB: 1024, Measurement: &digest}},
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := manifest.Sign(rand.Reader, m, private)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	signed, key, policy = filepath.Join(dir, "m.json"), filepath.Join(dir, "release.pub"), filepath.Join(dir, "policy.yaml")
	for path, text := range map[string][]byte{
		signed: envelope, key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), policy: []byte("simulated: {unsigned: true}\n"),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return signed, key, policy
}

func digestHex(d [32]byte) string { return hex.EncodeToString(d[:]) }

// enclaveWorld is a world whose clock is the real one, as evidence is.
func enclaveWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, newFleet())
	w.env.Now = time.Now
	return w
}

func TestAnEnclaveIsVerifiedFromOutside(t *testing.T) {
	spec, endpoint := bootEnclave(t, "")
	signed, key, policy := releaseFiles(t, spec)
	other, otherKey, _ := releaseFiles(t, &agentv1.EnclaveSpec{Config: append(slices.Clone(spec.GetConfig()), '\n'), CvmVersion: "1.0.0", Cpus: 1, MemoryMib: 1024})
	platform := evidence.PlatformDigest(spec.GetPlatform())
	pinned := []string{"--manifest", signed, "--signer", key}
	named := append(slices.Clone(pinned), "--policy", policy)
	for _, tc := range []struct {
		rule, url string
		args      []string
		code      int
		says      string
		not       []string
	}{
		{"a good enclave", "https://" + enclaveDomain, named, 0, "", []string{"platform"}},
		{"with the platform part pinned", "https://" + enclaveDomain, append(slices.Clone(named), "--platform-digest", digestHex(platform)), 0, "", nil},
		{"another platform part", "https://" + enclaveDomain, append(slices.Clone(named), "--platform-digest", strings.Repeat("00", 32)), 1, "platform_binding", nil},
		{"whatever runs", "https://" + enclaveDomain, []string{"--policy", policy, "--not-pinned", "release"}, 0, "", []string{"gpus", "platform", "release"}},
		{"no policy", "https://" + enclaveDomain, pinned, 1, "insecure_mode", nil},
		{"another release", "https://" + enclaveDomain, []string{"--manifest", other, "--signer", otherKey, "--policy", policy}, 1, "config_binding", nil},
		{"another signer", "https://" + enclaveDomain, []string{"--manifest", signed, "--signer", otherKey, "--policy", policy}, 1, "release_manifest", nil},
		{"an old release", "https://" + enclaveDomain, append(slices.Clone(named), "--floor", "8"), 1, "release_manifest", nil},
		{"another domain", "https://evil.example.com", named, 1, "domain_binding", nil},
		{"no pin", "https://" + enclaveDomain, []string{"--policy", policy}, 2, "--not-pinned release", nil},
		{"a tag that isn't there", "https://" + enclaveDomain, append(slices.Clone(named), "--repo", t.TempDir(), "--tag", "v1"), 2, "repository", nil},
		{"a tag without its repository", "https://" + enclaveDomain, append(slices.Clone(named), "--tag", "v1"), 2, "belong together", nil},
		{"no signer", "https://" + enclaveDomain, []string{"--manifest", signed}, 2, "--signer is missing", nil},
		{"a pin and none", "https://" + enclaveDomain, append(slices.Clone(named), "--not-pinned", "release"), 2, "excludes", nil},
		{"an unknown word", "https://" + enclaveDomain, append(slices.Clone(named), "--not-pinned", "all"), 2, "--not-pinned is release", nil},
		{"a bad digest", "https://" + enclaveDomain, append(slices.Clone(named), "--platform-digest", "ab"), 2, "64 hex digits", nil},
		{"an address", "https://127.0.0.1", named, 2, "--connect-to 127.0.0.1", nil},
		{"plain http", "http://" + enclaveDomain, named, 2, "https://NAME", nil},
		{"a path", "https://" + enclaveDomain + "/x", named, 2, "https://NAME", nil},
		{"a flag of files", "https://" + enclaveDomain, append(slices.Clone(named), "--vcek", key), 2, "--vcek has no meaning", nil},
		{"a file that isn't there", "https://" + enclaveDomain, []string{"--manifest", "/nonexistent", "--signer", key}, 2, "--manifest", nil},
		{"a key that is none", "https://" + enclaveDomain, []string{"--manifest", signed, "--signer", policy}, 2, "--signer", nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			w := enclaveWorld(t)
			args := append([]string{"attest", "verify", tc.url, "-o", "json", "--connect-to", endpoint}, tc.args...)
			if code := w.run(t, args...); code != tc.code {
				t.Fatalf("exit code %d, want %d\n%s%s", code, tc.code, &w.out, &w.err)
			}
			if tc.code == ExitUsage {
				if w.out.Len() > 0 || !strings.Contains(w.err.String(), tc.says) {
					t.Errorf("stdout %q, stderr %q; want nothing, and %q", &w.out, &w.err, tc.says)
				}
				return
			}
			var v attest.Verdict
			if err := json.Unmarshal(w.out.Bytes(), &v); err != nil {
				t.Fatal(err)
			}
			slices.Sort(v.NotPinned)
			if tc.code == 0 && !slices.Equal(v.NotPinned, tc.not) {
				t.Errorf("not pinned are %v, want %v", v.NotPinned, tc.not)
			}
			if failed := func(c attest.Check) bool { return !c.OK && c.Name == tc.says }; tc.says != "" && !slices.ContainsFunc(v.Checks, failed) {
				t.Errorf("checks %+v, want %s to fail", v.Checks, tc.says)
			}
		})
	}
}

func TestAFileIsNotVerifiedWithFlagsForEnclaves(t *testing.T) {
	w := newWorld(t, newFleet())
	if code := w.run(t, "attest", "verify", "--format", "tdx", "--evidence", "x", "--connect-to", "a:1"); code != ExitUsage || !strings.Contains(w.err.String(), "--connect-to has no meaning") {
		t.Errorf("exit code %d, %s", code, &w.err)
	}
}

func TestAManInTheMiddleIsRefusedFromOutside(t *testing.T) {
	spec, endpoint := bootEnclave(t, "attestation-foreign-key")
	signed, key, policy := releaseFiles(t, spec)
	pins := []string{"--manifest", signed, "--signer", key, "--policy", policy, "--connect-to", endpoint}
	w := enclaveWorld(t)
	if code := w.run(t, append([]string{"attest", "verify", "https://" + enclaveDomain}, pins...)...); code != ExitFailed || !strings.Contains(w.out.String(), "✗ key_binding") {
		t.Errorf("exit code %d\n%s%s", code, &w.out, &w.err)
	}
	w = enclaveWorld(t)
	if code := w.run(t, append([]string{"connect", enclaveDomain, "--port", "0"}, pins...)...); code != ExitFailed || !strings.Contains(w.out.String(), "✗ key_binding") {
		t.Errorf("connect: exit code %d\n%s%s", code, &w.out, &w.err)
	}
}

// said is what a command writes, and when.
type said struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func newSaid() *said { return &said{more: make(chan struct{}, 1)} }

// Write implements io.Writer.
func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.text.Write(p)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until a text was written.
func (s *said) await(t *testing.T, text string) string {
	t.Helper()
	for {
		if have := s.String(); strings.Contains(have, text) {
			return have
		}
		select {
		case <-s.more:
		case <-time.After(time.Minute):
			t.Fatalf("%q was never written, only %q", text, s)
		}
	}
}

// road leads to an enclave; where, can be changed.
type road struct {
	mu sync.Mutex
	to string
}

func (r *road) turn(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
}

func (r *road) target() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.to
}

// open listens and joins connections with the target, as a gateway does.
func (r *road) open(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { r.join(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return l.Addr().String()
}

func (r *road) join(near net.Conn) {
	far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", r.target())
	if err != nil {
		_ = near.Close()
		return
	}
	var out sync.WaitGroup
	out.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
	_, _ = io.Copy(near, far)
	_ = near.Close()
	out.Wait()
}

func TestConnectPassesBytesToTheAttestedEnclaveOnly(t *testing.T) {
	spec, endpoint := bootEnclave(t, "")
	_, middle := bootEnclave(t, "attestation-foreign-key")
	signed, key, policy := releaseFiles(t, spec)
	way := &road{to: endpoint}
	w := enclaveWorld(t)
	out, told := newSaid(), newSaid()
	w.env.Out, w.env.Err = out, told
	gateway := way.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- Run(ctx, []string{
			"connect", "web", "--port", "0", "--grace", "1s", "--manifest", signed, "--signer", key, "--policy", policy, "--connect-to", gateway,
		}, w.env)
	}()
	text := out.await(t, "Ctrl-C ends it")
	told.await(t, "the coordinator says that web is "+enclaveDomain)
	fields := strings.Fields(text[:strings.Index(text, " goes to ")])
	address := fields[len(fields)-1]
	if body, err := askPlain(t, address); err != nil || !strings.Contains(body, `"container":"web"`) {
		t.Errorf("through the tunnel: %q, %v", body, err)
	}
	way.turn(middle)
	if body, err := askPlain(t, address); err == nil {
		t.Errorf("with a man in the middle something passed: %q", body)
	}
	told.await(t, "key_binding")
	way.turn(endpoint)
	if _, err := askPlain(t, address); err != nil {
		t.Errorf("when he has gone: %v", err)
	}
	cancel()
	if code := <-ended; code != ExitOK {
		t.Errorf("exit code %d after Ctrl-C, want 0: %s", code, told)
	}
}

// askPlain waits until the workload answers over a new connection each time.
func askPlain(t *testing.T, address string) (string, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	for {
		resp, err := client.Get("http://" + address + "/") //nolint:noctx // bounded by the client's timeout
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return "", err
		}
		if resp.StatusCode == http.StatusOK {
			return terminal.Clean(string(body)), nil
		}
		// Wait for the next stage rather than for time to pass.
		r, err := client.Get("http://" + address + "/.well-known/casemate/boot?after=0&wait=1") //nolint:noctx // see above
		if err != nil {
			return "", err
		}
		_ = r.Body.Close()
	}
}

func TestConnectRefusesWhatItCantUse(t *testing.T) {
	for rule, tc := range map[string]struct {
		args []string
		says string
	}{
		"no port":        {[]string{"connect", "a.example"}, "--port is missing"},
		"a name to bind": {[]string{"connect", "a.example", "--port", "0", "--listen", "localhost"}, "--listen is an IP address"},
		"no interval":    {[]string{"connect", "a.example", "--port", "0", "--interval", "1ms"}, "--interval is at least"},
		"no pin":         {[]string{"connect", "a.example", "--port", "0"}, "--not-pinned release"},
	} {
		w := newWorld(t, newFleet())
		if code := w.run(t, tc.args...); code != ExitUsage || !strings.Contains(w.err.String(), tc.says) {
			t.Errorf("%s: exit code %d, %s; want 2 and %q", rule, code, &w.err, tc.says)
		}
	}
	w := newWorld(t, newFleet())
	if code := w.run(t, "connect", "nope", "--port", "0"); code != ExitFailed {
		t.Errorf("a container that isn't there: exit code %d, %s", code, &w.err)
	}
}
