package agent

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

func TestFences(t *testing.T) {
	get := func(h *harness, f *agentv1.Fence) error {
		_, err := h.hosts().GetHost(t.Context(), &agentv1.GetHostRequest{Fence: f})
		return err
	}
	watch := func(h *harness, f *agentv1.Fence) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, err := h.enclaves().WatchEnclaves(ctx, &agentv1.WatchEnclavesRequest{Fence: f})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	stop := func(h *harness, f *agentv1.Fence) error {
		_, err := h.enclaves().StopEnclave(t.Context(), &agentv1.StopEnclaveRequest{Fence: f, Id: "x"})
		return err
	}
	type call struct {
		do    func(*harness, *agentv1.Fence) error
		fence *agentv1.Fence
	}
	for name, c := range map[string]struct {
		pin   string
		calls []call
		code  codes.Code // of the last
		want  string     // its reason
	}{
		"the first cluster to change something is followed":   {"", []call{{stop, at("c1", 4)}, {stop, at("c2", 5)}}, codes.FailedPrecondition, "FOREIGN_CLUSTER"},
		"the first cluster to watch is followed":              {"", []call{{watch, at("c1", 4)}, {stop, at("c2", 5)}}, codes.FailedPrecondition, "FOREIGN_CLUSTER"},
		"a lower epoch is refused":                            {"", []call{{stop, at("c1", 4)}, {stop, at("c1", 3)}}, codes.FailedPrecondition, "STALE_EPOCH"},
		"a read with a lower epoch is refused":                {"", []call{{stop, at("c1", 4)}, {get, at("c1", 3)}}, codes.FailedPrecondition, "STALE_EPOCH"},
		"a watch of another cluster is refused":               {"", []call{{stop, at("c1", 4)}, {watch, at("c2", 9)}}, codes.FailedPrecondition, "FOREIGN_CLUSTER"},
		"a higher epoch is taken":                             {"", []call{{stop, at("c1", 4)}, {stop, at("c1", 9)}}, codes.OK, ""},
		"a person may read":                                   {"", []call{{stop, at("c1", 4)}, {get, nil}}, codes.OK, ""},
		"nobody changes something without a fence":            {"", []call{{stop, nil}}, codes.InvalidArgument, "INVALID_REQUEST"},
		"a pinned cluster is the only one":                    {"c2", []call{{stop, at("c1", 4)}}, codes.FailedPrecondition, "FOREIGN_CLUSTER"},
		"an epoch of nothing is no fence":                     {"", []call{{stop, at("c1", 0)}}, codes.InvalidArgument, "INVALID_REQUEST"},
		"a cluster's name is bounded":                         {"", []call{{stop, at("../c1", 1)}}, codes.InvalidArgument, "INVALID_REQUEST"},
		"a refused call does not make its cluster the leader": {"", []call{{stop, at("c1", 4)}, {stop, at("c2", 9)}, {stop, at("c1", 4)}}, codes.OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, func(cfg *Config) { cfg.ClusterID = c.pin })
			var err error
			for _, call := range c.calls {
				err = call.do(h, call.fence)
			}
			if rpc.Code(err) != c.code || rpc.Reason(err) != c.want {
				t.Errorf("the last call gives %v, expected %s with reason %q", err, c.code, c.want)
			}
		})
	}
}

func TestTheFenceSurvivesARestartAndIsTold(t *testing.T) {
	h := newHarness(t)
	if _, err := h.hosts().GetHost(t.Context(), &agentv1.GetHostRequest{Fence: at("c1", 7)}); err != nil {
		t.Fatal(err)
	}
	h.restart()
	if f := h.host(); f.GetClusterId() != "c1" || f.GetEpoch() != 7 {
		t.Errorf("cluster %q epoch %d is told", f.GetClusterId(), f.GetEpoch())
	}
	if _, err := h.create("x", newSpec(0)); rpc.Reason(err) != "STALE_EPOCH" {
		t.Errorf("epoch 1 after 7 gives %v", err)
	}
}

func TestACallForTheHostBeforeItWasSetUpAnewIsRefused(t *testing.T) {
	h := newHarness(t)
	stop := func(incarnation string) string {
		t.Helper()
		f := at("c1", 1)
		f.Incarnation = incarnation
		_, err := h.enclaves().StopEnclave(t.Context(), &agentv1.StopEnclaveRequest{Fence: f, Id: "x"})
		if err == nil {
			return ""
		}
		return rpc.Reason(err)
	}
	first := h.host().GetIncarnation()
	if got := stop(first); first == "" || got != "" {
		t.Errorf("a call for incarnation %q, which is told, gives %q", first, got)
	}
	h.restart()
	if got := stop(first); got != "" {
		t.Errorf("a call after a restart gives %q", got)
	}
	h.restart(func(c *Config) { c.StateDir = t.TempDir() })
	if got := stop(first); got != "OTHER_INCARNATION" {
		t.Errorf("a call for the host that was gives %q, want OTHER_INCARNATION", got)
	}
	if got := stop(""); got != "" {
		t.Errorf("a call for any incarnation gives %q", got)
	}
	if second := h.host().GetIncarnation(); second == first || stop(second) != "" {
		t.Errorf("the host that is says that it is %q, and does not take calls for that", second)
	}
}

func TestACallThatWaitedIsStaleIfANewerCoordinatorCameMeanwhile(t *testing.T) {
	h := newHarness(t)
	for name, call := range map[string]func() error{
		"create": func() error { _, err := h.create("a", newSpec(0)); return err },
		"stop":   func() error { _, err := h.stopEnclave("b"); return err },
		"delete": func() error { return h.delete("c") },
	} {
		t.Run(name, func(t *testing.T) {
			h.restart(func(c *Config) { c.StateDir = t.TempDir() })
			done, err := h.agent.turn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			answer := make(chan error, 1)
			go func() { answer <- call() }()
			eventually(t, "the call was admitted", func() bool { return h.agent.fence.Current().Epoch == 1 })
			if _, err := h.hosts().GetHost(t.Context(), &agentv1.GetHostRequest{Fence: at("c1", 2)}); err != nil {
				t.Fatal(err)
			}
			done()
			if err := <-answer; rpc.Reason(err) != "STALE_EPOCH" {
				t.Errorf("it gives %v", err)
			}
		})
	}
}
