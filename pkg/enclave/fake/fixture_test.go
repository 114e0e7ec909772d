package fake_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/guest/simulated"
	attested "github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/enclavetest"
	"github.com/casemate-dev/casemate/pkg/enclave/fake"
)

// guestPath is the guest's binary, built once.
var guestPath string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "casemate-guest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	guestPath = filepath.Join(dir, "guest")
	build := exec.Command("go", "build", "-o", guestPath, "github.com/casemate-dev/casemate/cmd/guest")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the guest: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if left := guests(); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "guests are left running:", left)
		for _, pid := range left {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
		return 1
	}
	return code
}

// guests are the processes that run the guest of this test.
func guests() []int {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	var out []int
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == guestPath {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			out = append(out, pid)
		}
	}
	return out
}

// configFile has two containers; settings go into the environment of the first.
func configFile(settings ...string) string {
	env := ""
	if len(settings) > 0 {
		env = "    env:\n"
		for i := 0; i+1 < len(settings); i += 2 {
			env += fmt.Sprintf("      - %s: %q\n", settings[i], settings[i+1])
		}
	}
	image := "image: ghcr.io/o/app@sha256:" + strings.Repeat("1", 64)
	health := "    healthcheck: {test: [CMD, check], interval: 50ms, timeout: 1s, retries: 2}\n"
	return "cvm-version: 0.14.12\ncpus: 2\nmemory: 2048\ncontainers:\n" +
		"  - name: app\n    " + image + "\n" + env + health +
		"  - name: side\n    " + image + "\nshim:\n  upstream-port: 8080\n"
}

func newSpec(settings ...string) *agentv1.EnclaveSpec {
	s := &agentv1.EnclaveSpec{
		Org: "acme", Container: "api", ContainerUid: "a", Revision: 1, Tag: "v1.0.0",
		Profile: agentv1.CvmProfile_CVM_PROFILE_NONE, CvmVersion: "0.14.12", Cpus: 2, MemoryMib: 2048,
		Config: []byte(configFile(settings...)), ConfigName: "casemate.yml",
		Platform: &agentv1.Platform{ClusterId: "c1", SecretsKey: make([]byte, ed25519.PublicKeySize), Domain: "api.example"},
	}
	s.ExpectedMeasurements = []string{attested.MeasurementHex(s)}
	return s
}

func inProcess(ctx context.Context, dir string, powerOff <-chan struct{}) error {
	return simulated.Run(ctx, simulated.Options{Dir: dir, PowerOff: powerOff, Grace: time.Second})
}

func open(t *testing.T, cfg fake.Config) *fake.Backend {
	t.Helper()
	b, err := fake.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// backend opens a backend whose enclaves end with the test.
func backend(t *testing.T, cfg fake.Config) *fake.Backend {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.InProcess == nil && cfg.GuestPath == "" {
		cfg.GuestPath = guestPath
	}
	b := open(t, cfg)
	t.Cleanup(func() {
		all, err := b.List(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, o := range all {
			if err := b.Stop(context.Background(), o.ID, 0); err != nil {
				t.Errorf("clean up %s: %v", o.ID, err)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func kill(dir string) func(*testing.T, string) {
	return func(t *testing.T, id string) {
		t.Helper()
		for _, pid := range guests() {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if strings.Contains(string(line), filepath.Join(dir, id)) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func harness(cfg fake.Config, kill func(*testing.T, string)) enclavetest.Harness {
	return enclavetest.Harness{
		Open: func(t *testing.T) enclave.Backend { return open(t, cfg) },
		Close: func(t *testing.T, b enclave.Backend) {
			if err := b.(*fake.Backend).Close(); err != nil {
				t.Error(err)
			}
		},
		Spec:     func(*testing.T) *agentv1.EnclaveSpec { return newSpec() },
		Deaf:     func(s *agentv1.EnclaveSpec) { s.Config = []byte(configFile("CASEMATE_SIM_FAULT", "stop-hangs")) },
		Missing:  func(s *agentv1.EnclaveSpec) { s.Config = []byte(configFile("CASEMATE_SIM_FAULT", "image-missing")) },
		Kill:     kill,
		Survives: kill != nil,
	}
}

func TestContractWithProcesses(t *testing.T) {
	enclavetest.Run(t, func(t *testing.T) enclavetest.Harness {
		dir := t.TempDir()
		return harness(fake.Config{Dir: dir, GuestPath: guestPath}, kill(dir))
	})
}

func TestContractInProcess(t *testing.T) {
	enclavetest.Run(t, func(t *testing.T) enclavetest.Harness {
		return harness(fake.Config{Dir: t.TempDir(), InProcess: inProcess}, nil)
	})
}

func insecureClient(addr string) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // evidence is tested elsewhere
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}}
}
