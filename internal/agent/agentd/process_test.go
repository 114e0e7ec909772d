package agentd_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
)

// The binaries, built once.
var agentPath, guestPath string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "casemate-agent")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	agentPath, guestPath = filepath.Join(dir, "agent"), filepath.Join(dir, "guest")
	for path, pkg := range map[string]string{agentPath: "agent", guestPath: "guest"} {
		args := []string{"build", "-o", path}
		if raceEnabled && pkg == "agent" {
			args = append(args, "-race")
		}
		build := exec.Command("go", append(args, "github.com/casemate-dev/casemate/cmd/"+pkg)...)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	for _, pid := range processes(guestPath) {
		fmt.Fprintln(os.Stderr, "a guest is left running:", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
		code = 1
	}
	return code
}

// processes are those that run a binary of this test.
func processes(binary string) []int {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	var out []int
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == binary {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			out = append(out, pid)
		}
	}
	return out
}

// host is a host's agent, as a process.
type host struct {
	t      *testing.T
	dir    string
	config string
	cmd    *exec.Cmd
	log    *lockedBuffer
}

// lockedBuffer collects a process's output.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newHost writes a host's files and starts its agent; its enclaves end with the
// test.
func newHost(t *testing.T, boot string) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir()}
	h.config = filepath.Join(h.dir, "agent.yaml")
	gpus := filepath.Join(h.dir, "gpus.yaml")
	h.write(gpus, "version: 1\npreset: 8xH200\nmode_switch: {duration: 50ms}\n")
	h.write(h.config, fmt.Sprintf(`
name: h1
state_dir: %[1]s/state
listen: {local: "unix://%[1]s/a.sock"}
profile: none
backend: {kind: fake, fake: {guest: %[2]s, host_file: %[3]s}}
capacity: {cpus: 16, memory_mib: 16384}
gpu: {switch_modes: true}
allow_insecure: [simulated]
intervals: {observe: 500ms, poll: 2s, call: 30s, silent: 30s, fail_grace: 500ms, boot: %[4]s}
`, h.dir, guestPath, gpus, boot))
	h.start()
	t.Cleanup(h.end)
	return h
}

func (h *host) write(path, text string) {
	h.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// start starts the agent and waits until it answers for its enclaves.
func (h *host) start() {
	h.t.Helper()
	h.log = &lockedBuffer{}
	h.cmd = exec.Command(agentPath, "--config", h.config, "--log-level", "debug")
	h.cmd.Stderr = h.log
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the agent answers", func(ctx context.Context) error {
		_, err := h.enclaves().ListEnclaves(ctx, &agentv1.ListEnclavesRequest{})
		return err
	})
}

// signal sends the agent a signal and waits until it is gone.
func (h *host) signal(s syscall.Signal) error {
	h.t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		h.t.Fatal(err)
	}
	return h.cmd.Wait()
}

// end stops the agent, and whatever runs on the host.
func (h *host) end() {
	if h.t.Failed() {
		h.t.Logf("the agent's log:\n%s", h.log)
	}
	if h.cmd.ProcessState == nil {
		if err := h.signal(syscall.SIGTERM); err != nil {
			h.t.Errorf("the agent ends with %v:\n%s", err, h.log)
		}
	}
	for _, pid := range processes(guestPath) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(line), h.dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func (h *host) conn() *grpc.ClientConn {
	h.t.Helper()
	c, err := rpc.Dial("unix://" + h.dir + "/a.sock")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (h *host) enclaves() agentv1.EnclaveServiceClient {
	return agentv1.NewEnclaveServiceClient(h.conn())
}

// patience is far longer than anything takes that a test waits for.
const patience = 2 * time.Minute

// eventually tries until it succeeds.
func (h *host) eventually(what string, try func(context.Context) error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		if err = try(ctx); err == nil {
			return
		}
		select {
		case <-time.After(30 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	h.t.Fatalf("%s: not within %s: %v\n%s", what, patience, err, h.log)
}

// await waits for an enclave to be as wanted.
func (h *host) await(id, what string, is func(*agentv1.Enclave) bool) *agentv1.Enclave {
	h.t.Helper()
	var got *agentv1.Enclave
	client := h.enclaves()
	h.eventually(id+" is "+what, func(ctx context.Context) error {
		resp, err := client.GetEnclave(ctx, &agentv1.GetEnclaveRequest{Id: id})
		if err != nil {
			return err
		}
		if got = resp.GetEnclave(); !is(got) {
			return fmt.Errorf("it is %s, reason %q, %q, claimed %t", got.GetState(), got.GetReason(), got.GetText(), got.GetClaimed())
		}
		return nil
	})
	return got
}

func in(state agentv1.EnclaveState) func(*agentv1.Enclave) bool {
	return func(e *agentv1.Enclave) bool { return e.GetState() == state }
}

func gone(e *agentv1.Enclave) bool {
	return !e.GetClaimed() && (e.GetState() == agentv1.EnclaveState_ENCLAVE_STATE_STOPPED || e.GetState() == agentv1.EnclaveState_ENCLAVE_STATE_FAILED)
}

func fenceAt(epoch int64) *agentv1.Fence { return &agentv1.Fence{ClusterId: "c1", Epoch: epoch} }

// newSpec is a spec with GPUs and settings of package faults.
func newSpec(gpus int, settings ...string) *agentv1.EnclaveSpec {
	env := ""
	for i := 0; i+1 < len(settings); i += 2 {
		env += fmt.Sprintf("      - %s: %q\n", settings[i], settings[i+1])
	}
	if env != "" {
		env = "    env:\n" + env
	}
	config := fmt.Sprintf("cvm-version: 0.14.12\ncpus: 1\nmemory: 512\ngpus: %d\ncontainers:\n  - name: app\n"+
		"    image: ghcr.io/o/app@sha256:%s\n%s    healthcheck: {test: [CMD, check], interval: 50ms, timeout: 30s, retries: 2}\n"+
		"shim:\n  upstream-port: 8080\n", gpus, strings.Repeat("1", 64), env)
	s := &agentv1.EnclaveSpec{
		Org: "acme", Container: "api", ContainerUid: "a", Revision: 1, Tag: "v1.0.0",
		Profile: agentv1.CvmProfile_CVM_PROFILE_NONE, CvmVersion: "0.14.12", Cpus: 1, MemoryMib: 512, Gpus: uint32(gpus),
		Config: []byte(config), ConfigName: "casemate.yml",
		Platform: &agentv1.Platform{ClusterId: "c1", SecretsKey: make([]byte, 32), Domain: "api.example"},
	}
	s.ExpectedMeasurements = []string{simulated.MeasurementHex(s)}
	return s
}

// create creates an enclave, which must succeed.
func (h *host) create(id string, spec *agentv1.EnclaveSpec) *agentv1.Enclave {
	h.t.Helper()
	resp, err := h.enclaves().CreateEnclave(h.t.Context(), &agentv1.CreateEnclaveRequest{Fence: fenceAt(1), Id: id, Spec: spec})
	if err != nil {
		h.t.Fatalf("create %s: %v", id, err)
	}
	return resp.GetEnclave()
}

// stop asks for an enclave to be stopped.
func (h *host) stop(id string) {
	h.t.Helper()
	if _, err := h.enclaves().StopEnclave(h.t.Context(), &agentv1.StopEnclaveRequest{Fence: fenceAt(1), Id: id}); err != nil {
		h.t.Fatalf("stop %s: %v", id, err)
	}
}

func (h *host) facts() *agentv1.Host {
	h.t.Helper()
	resp, err := agentv1.NewHostServiceClient(h.conn()).GetHost(h.t.Context(), &agentv1.GetHostRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.GetHost()
}
