package cli

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// fleet is a small coordinator in memory. Its update goes through a script of
// states, one for every message a watch sends; accepting or cancelling goes on
// with another script.
type fleet struct {
	mu         sync.Mutex
	containers []*cv1.Container
	secrets    []*cv1.Secret
	values     map[string]string
	hosts      []*cv1.Host
	routes     []*cv1.Route
	events     []*cv1.Event
	revisions  []*cv1.Revision
	history    []*cv1.Update

	// plans are given out one after the other; the last one stays.
	plans []*cv1.Plan
	// script are the states of the update; reached is the one it is in. A nil state
	// means that it was deleted with its container.
	script              []*cv1.Update
	reached             int
	accepted, cancelled []*cv1.Update
	// breaks end a watch with an error before the state with that index, once.
	breaks map[int]error
	// refuse answers a method with an error, by the request's name.
	refuse map[string]error
	// unavailable is how many calls find the coordinator still starting.
	unavailable int
	// goes are the states of a container that is watched; the last state nil means
	// that it is deleted.
	goes []*cv1.Container
	// quiet is closed when a watch has sent all there is.
	quiet chan struct{}

	logs [][]byte
	// judged is the verdict on whatever is asked for.
	judged *agentv1.Verdict
	// backup is what a download sends.
	backup []*cv1.DownloadBackupResponse
	calls  []proto.Message
}

func newFleet() *fleet {
	return &fleet{
		containers: []*cv1.Container{llmContainer(), webContainer()},
		secrets:    someSecrets(), values: map[string]string{}, hosts: twoHosts(), routes: someRoutes(),
		events: someEvents(), revisions: someRevisions(), plans: []*cv1.Plan{bluePlan()},
		script: goodUpdate(), history: []*cv1.Update{failingUpdate()[2], goodUpdate()[9]},
		breaks: map[int]error{}, refuse: map[string]error{}, quiet: make(chan struct{}),
		backup: someBackup("the store"),
	}
}

// register adds the services.
func (f *fleet) register(r grpc.ServiceRegistrar) {
	cv1.RegisterContainerServiceServer(r, fleetContainers{fleet: f})
	cv1.RegisterUpdateServiceServer(r, fleetUpdates{fleet: f})
	cv1.RegisterRevisionServiceServer(r, fleetRevisions{fleet: f})
	cv1.RegisterSecretServiceServer(r, fleetSecrets{fleet: f})
	cv1.RegisterHostServiceServer(r, fleetHosts{fleet: f})
	cv1.RegisterRouteServiceServer(r, fleetRoutes{fleet: f})
	cv1.RegisterEventServiceServer(r, fleetEvents{fleet: f})
	cv1.RegisterBackupServiceServer(r, fleetBackups{fleet: f})
}

// took records a call and says whether it is refused.
func (f *fleet) took(m proto.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, proto.Clone(m))
	if f.unavailable > 0 {
		f.unavailable--
		return status.Error(codes.Unavailable, "starting")
	}
	return f.refuse[string(m.ProtoReflect().Descriptor().Name())]
}

// got returns the calls of one kind.
func got[M proto.Message](f *fleet) []M {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []M
	for _, c := range f.calls {
		if m, ok := c.(M); ok {
			out = append(out, m)
		}
	}
	return out
}

// plan is the next plan.
func (f *fleet) plan() *cv1.Plan {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.plans[0]
	if len(f.plans) > 1 {
		f.plans = f.plans[1:]
	}
	return p
}

// begin starts the update if the plan is still the same.
func (f *fleet) begin(etag string) (*cv1.Update, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if etag != f.plans[0].GetEtag() {
		return nil, rpc.Error(codes.Aborted, "PLAN_CHANGED", "the plan is another one by now: look at it again and repeat")
	}
	return f.script[f.reached], nil
}

func noContainer(name string) error {
	return rpc.Error(codes.NotFound, "NO_SUCH_CONTAINER", "there is no container "+strconv.Quote(name)+": see `casemate container list`")
}

func (f *fleet) container(name string) (*cv1.Container, error) {
	i := slices.IndexFunc(f.containers, func(c *cv1.Container) bool { return c.GetName() == name || c.GetUid() == name })
	if i < 0 {
		return nil, noContainer(name)
	}
	return f.containers[i], nil
}

// token and position are the resume tokens of the update's watch.
func token(i int) string { return "t" + strconv.Itoa(i) }

func position(token string) (int, error) {
	if token == "" {
		return -1, nil
	}
	return strconv.Atoi(token[1:])
}

// state advances the script to i; there is none beyond its end.
func (f *fleet) state(i int) (u *cv1.Update, more bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.breaks[i]; err != nil {
		delete(f.breaks, i)
		return nil, false, err
	}
	if i >= len(f.script) {
		return nil, false, nil
	}
	f.reached = i
	return f.script[i], true, nil
}

// idle is what a watch does when there is nothing to tell.
func (f *fleet) idle(ctx context.Context) error {
	f.mu.Lock()
	select {
	case <-f.quiet:
	default:
		close(f.quiet)
	}
	f.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}
