package agent

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	fakegpu "github.com/casemate-dev/casemate/pkg/gpu/fake"
)

// harness is an agent behind gRPC on a connection in memory, over a backend in
// memory. It can be restarted.
type harness struct {
	t       *testing.T
	cfg     Config
	backend *backend
	agent   *Agent
	conn    *grpc.ClientConn
	stop    func()
}

// quick are times for tests: what comes again comes soon. What may be missed on a
// busy machine is far off; a test that is about it sets its own.
var quick = Times{
	Inventory: 50 * time.Millisecond, Host: 50 * time.Millisecond, Observe: 50 * time.Millisecond,
	Poll: time.Second, Call: patience, Silent: patience, Boot: patience,
	FailGrace: 10 * time.Millisecond, StopMargin: patience, Retry: 20 * time.Millisecond, Reader: patience,
}

// patience is far longer than anything takes that a test waits for.
const patience = 2 * time.Minute

// newConfig is that of a host with eight GPUs.
func newConfig(t *testing.T, b *backend) Config {
	t.Helper()
	host, err := fakegpu.Preset("8xH200")
	if err != nil {
		t.Fatal(err)
	}
	inventory, err := fakegpu.New(host)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Name: "h1", Version: "v0", StateDir: t.TempDir(), BootID: "boot-1",
		Policy:   Policy{Profile: agentv1.CvmProfile_CVM_PROFILE_NONE, AllowSimulated: true, Simulated: true},
		Capacity: ledger.Capacity{CPUs: 64, MemoryMiB: 65536},
		Backend:  b, Inventory: inventory, SwitchModes: true,
		Judge: unsignedJudge(t),
		Dial:  b.dial, Log: discard(), Times: quick,
	}
}

// unsignedJudge accepts the guests in memory.
func unsignedJudge(t *testing.T) *judge.Judge {
	t.Helper()
	j, err := judge.New(judge.Config{Policy: &policy.Policy{Simulated: &policy.Simulated{Unsigned: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// newHarness starts an agent; change alters its configuration.
func newHarness(t *testing.T, change ...func(*Config)) *harness {
	t.Helper()
	h := &harness{t: t, backend: newBackend()}
	h.cfg = newConfig(t, h.backend)
	for _, c := range change {
		c(&h.cfg)
	}
	h.start()
	h.adopted()
	return h
}

// start runs the agent and serves it.
func (h *harness) start() {
	h.t.Helper()
	a, err := New(h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	lis := bufconn.Listen(1 << 16)
	server, err := rpc.NewServer(rpc.Config{
		Log: discard(), Register: a.Register, MapError: MapError, Check: a.Check, Slow: a.SlowCalls(), Local: []net.Listener{lis},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ends := make(chan error, 2)
	go func() { ends <- a.Run(ctx) }()
	go func() { ends <- server.Run(ctx) }()
	h.conn, err = rpc.Dial("passthrough:///memory", grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return lis.DialContext(ctx)
	}))
	if err != nil {
		h.t.Fatal(err)
	}
	h.agent = a
	ended := false
	h.stop = func() {
		if ended {
			return
		}
		ended = true
		_ = h.conn.Close()
		cancel()
		for range 2 {
			if err := <-ends; err != nil {
				h.t.Errorf("the agent ends with %v", err)
			}
		}
		if err := a.Close(); err != nil {
			h.t.Error(err)
		}
	}
	h.t.Cleanup(func() { h.stop() })
}

func (h *harness) adopted() {
	h.t.Helper()
	select {
	case <-h.agent.Adopted():
	case <-time.After(patience):
		h.t.Fatal("the agent does not adopt what runs")
	}
}

// restart stops the agent and starts it anew; change alters its configuration.
func (h *harness) restart(change ...func(*Config)) {
	h.t.Helper()
	h.stop()
	for _, c := range change {
		c(&h.cfg)
	}
	h.start()
	h.adopted()
}

func (h *harness) enclaves() agentv1.EnclaveServiceClient {
	return agentv1.NewEnclaveServiceClient(h.conn)
}

func (h *harness) hosts() agentv1.HostServiceClient { return agentv1.NewHostServiceClient(h.conn) }

func at(cluster string, epoch int64) *agentv1.Fence {
	return &agentv1.Fence{ClusterId: cluster, Epoch: epoch}
}

func (h *harness) create(id string, spec *agentv1.EnclaveSpec) (*agentv1.Enclave, error) {
	resp, err := h.enclaves().CreateEnclave(h.t.Context(), &agentv1.CreateEnclaveRequest{Fence: at("c1", 1), Id: id, Spec: spec})
	return resp.GetEnclave(), err
}

func (h *harness) mustCreate(id string, spec *agentv1.EnclaveSpec) *agentv1.Enclave {
	h.t.Helper()
	e, err := h.create(id, spec)
	if err != nil {
		h.t.Fatalf("create %s: %v", id, err)
	}
	return e
}

func (h *harness) stopEnclave(id string) (*agentv1.Enclave, error) {
	resp, err := h.enclaves().StopEnclave(h.t.Context(), &agentv1.StopEnclaveRequest{Fence: at("c1", 1), Id: id})
	return resp.GetEnclave(), err
}

func (h *harness) delete(id string) error {
	_, err := h.enclaves().DeleteEnclave(h.t.Context(), &agentv1.DeleteEnclaveRequest{Fence: at("c1", 1), Id: id})
	return err
}

func (h *harness) get(id string) *agentv1.Enclave {
	resp, err := h.enclaves().GetEnclave(h.t.Context(), &agentv1.GetEnclaveRequest{Id: id})
	if err != nil {
		return &agentv1.Enclave{Reason: rpc.Reason(err)}
	}
	return resp.GetEnclave()
}

// await waits until an enclave is as wanted.
func (h *harness) await(id string, is func(*agentv1.Enclave) bool) *agentv1.Enclave {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		e := h.get(id)
		if is(e) {
			return e
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s is %s, reason %s, %q, claimed %t, conditions %v", id, e.GetState(), e.GetReason(), e.GetText(), e.GetClaimed(), e.GetConditions())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (h *harness) host() *agentv1.Host {
	h.t.Helper()
	resp, err := h.hosts().GetHost(h.t.Context(), &agentv1.GetHostRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.GetHost()
}

const (
	stateHealthy   = agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY
	stateUnhealthy = agentv1.EnclaveState_ENCLAVE_STATE_UNHEALTHY
	stateStarting  = agentv1.EnclaveState_ENCLAVE_STATE_STARTING
	stateStopping  = agentv1.EnclaveState_ENCLAVE_STATE_STOPPING
	stateStopped   = agentv1.EnclaveState_ENCLAVE_STATE_STOPPED
	stateFailed    = agentv1.EnclaveState_ENCLAVE_STATE_FAILED
	statePreparing = agentv1.EnclaveState_ENCLAVE_STATE_PREPARING
)

func in(s agentv1.EnclaveState) func(*agentv1.Enclave) bool {
	return func(e *agentv1.Enclave) bool { return e.GetState() == s }
}

func goneAs(s agentv1.EnclaveState, reason string) func(*agentv1.Enclave) bool {
	return func(e *agentv1.Enclave) bool { return e.GetState() == s && !e.GetClaimed() && e.GetReason() == reason }
}

// hasCondition says whether a condition of this code is told.
func hasCondition(list []*agentv1.Condition, code string) bool {
	for _, c := range list {
		if c.GetCode() == code {
			return true
		}
	}
	return false
}

// newSpec is a spec that a host takes.
func newSpec(gpus int) *agentv1.EnclaveSpec {
	config := fmt.Sprintf("cvm-version: 0.14.12\ncpus: 1\nmemory: 512\ngpus: %d\ncontainers:\n  - name: app\n"+
		"    image: ghcr.io/o/app@sha256:%s\nshim:\n  upstream-port: 8080\n", gpus, strings.Repeat("1", 64))
	s := &agentv1.EnclaveSpec{
		Org: "acme", Container: "api", ContainerUid: "a", Revision: 1, Tag: "v1.0.0",
		Profile: agentv1.CvmProfile_CVM_PROFILE_NONE, CvmVersion: "0.14.12", Cpus: 1, MemoryMib: 512, Gpus: uint32(gpus),
		Config: []byte(config), ConfigName: "casemate.yml",
		Platform: &agentv1.Platform{ClusterId: "c1", SecretsKey: make([]byte, 32), Domain: "api.example"},
	}
	s.ExpectedMeasurements = []string{simulated.MeasurementHex(s)}
	return s
}
