package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/gateways"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/planner"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/coordinator/runner"
	"github.com/casemate-dev/casemate/internal/coordinator/vault"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
	"github.com/casemate-dev/casemate/pkg/release/git"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const configText = `cvm-version: 1.0.0
cpus: 2
memory: 4096
containers:
  - name: app
    image: registry.casemate.test/app@sha256:%064x
    env: [LOG_LEVEL]
    secrets: [API_KEY]
shim:
  upstream-port: 8080
`

// tags knows the tags v1.0.0 and v1.1.0 of one repository, with the manifests of
// releases 1 and 2 unless publish says otherwise.
type tags struct {
	publish func(*git.Found) git.Published
}

func (r tags) Resolve(_ context.Context, req git.Request) (*git.Found, error) {
	n := map[string]int{"v1.0.0": 1, "v1.1.0": 2}[req.Tag]
	if n == 0 {
		return nil, fmt.Errorf("%w: no tag %s; there are v1.0.0 and v1.1.0", git.ErrNoTag, req.Tag)
	}
	found := &git.Found{
		Repository: req.Repository, Tag: req.Tag, Commit: strings.Repeat(fmt.Sprint(n), 40),
		ConfigName: "casemate.yml", Content: fmt.Appendf(nil, configText, n),
	}
	if r.publish != nil {
		found.Manifest = r.publish(found)
	} else {
		found.Manifest = published(releaseKey, manifestOf(found))
	}
	return found, nil
}

// accepts judges every enclave good.
type accepts struct{}

func (accepts) Attest(context.Context, model.ContainerKey, model.EnclaveRef, model.Revision, *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	return &model.Verdict{Accepted: true, Insecure: []string{"simulated"}}, nil, nil
}

// Judge refuses the containers whose name says so, and can't ask those on whose
// way is a wall.
func (accepts) Judge(_ context.Context, k model.ContainerKey, _ model.EnclaveRef, _ model.Revision, _ *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	switch k.Name {
	case "walled":
		return nil, nil, errors.New("no route to host")
	case "refused":
		return &model.Verdict{Format: "sev-snp", Checks: []model.Check{{Name: "nonce", Detail: "differs"}}}, &engine.Failure{Reason: "ATTESTATION_REFUSED"}, nil
	}
	return &model.Verdict{Accepted: true, Format: "sev-snp", Checks: []model.Check{{Name: "nonce", OK: true}}}, nil, nil
}

type noDNS struct{}

func (noDNS) Withdraw(context.Context, string) error { return nil }

// start serves the API over a store in memory, with one host whose agent is
// fleetAgent, and returns a client connection.
func start(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return startOver(t, memory.New(memory.Config{}))
}

func startOver(t *testing.T, s store.Store) *grpc.ClientConn {
	t.Helper()
	return startWith(t, s, tags{}, trusting(nil))
}

// startWith is startOver with these tags, judged by this policy.
func startWith(t *testing.T, s store.Store, from tags, judge planner.Manifests) *grpc.ClientConn {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	rec, err := records.Open(ctx, s, func() string { return "cl" })
	if err != nil {
		t.Fatal(err)
	}
	agents := bufconn.Listen(1 << 16)
	agentServer := grpc.NewServer()
	a := newFleetAgent()
	agentv1.RegisterHostServiceServer(agentServer, a)
	agentv1.RegisterEnclaveServiceServer(agentServer, a)
	go func() { _ = agentServer.Serve(agents) }()
	f, err := fleet.New(fleet.Config{
		Log: slog.New(slog.DiscardHandler), ClusterID: "cl", Epoch: rec.Epoch, Now: time.Now,
		Profiles: []agentv1.CvmProfile{agentv1.CvmProfile_CVM_PROFILE_NONE},
		Dial:     func(string) (fleet.Conn, error) { return dial(agents) },
		Note:     rec.NoteMachine,
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.New([]byte(strings.Repeat("k", vault.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	gw := gateways.New(time.Now, nil)
	p := planner.New(rec, from, judge, f, time.Now)
	run, err := runner.New(runner.Config{
		Log: slog.New(slog.DiscardHandler), Records: rec, Engine: engine.Engine{Limits: engine.DefaultLimits()}, Agents: f, Gateways: gw,
		Attestor: accepts{}, Judge: accepts{}, DNS: noDNS{}, Replanner: p, Permanent: fleet.Permanent, SecretsKey: v.PublicKey(), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.SetSink(run)
	uids := 0
	services, err := New(ctx, Config{
		Log: slog.New(slog.DiscardHandler), Records: rec, Runner: run, Planner: p, Fleet: f, Gateways: gw, Vault: v,
		BaseDomain: "example.test", HoldTimeout: time.Minute, Now: time.Now,
		NewUID: func() string { uids++; return fmt.Sprintf("c%d", uids) },
	})
	if err != nil {
		t.Fatal(err)
	}
	lis := bufconn.Listen(1 << 16)
	server, err := rpc.NewServer(rpc.Config{Log: slog.New(slog.DiscardHandler), Register: services.Register, MapError: MapError, Local: []net.Listener{lis}, Slow: Slow()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Start(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() { done <- f.Run(ctx) }()
	go func() { done <- server.Run(ctx) }()
	conn, err := dial(lis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cerr := conn.Close()
		cancel()
		if err := errors.Join(cerr, <-done, <-done); err != nil {
			t.Error(err)
		}
		run.Wait()
		agentServer.Stop()
	})
	return conn
}

func dial(l *bufconn.Listener) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
}
