package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/plan"
	"github.com/casemate-dev/casemate/internal/coordinator/planner"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
	"github.com/casemate-dev/casemate/internal/store/sqlite"
)

// rows are hosts as the fleet gives them to the planner.
type rows plan.Hosts

// Plan returns them.
func (r rows) Plan() plan.Hosts { return plan.Hosts(r) }

func row(n int) plan.Host {
	return plan.Host{
		Name: hostName(n), Free: model.Room{GPUs: 3, CPUs: 88, MemoryMiB: memoryPerHost / 2},
		Offers: []int{1, 2, 3}, Counts: []int{1, 2, 3, 4, 5, 6, 7, 8},
	}
}

// BenchmarkPlan makes plans for one container after the other, with 1,000 hosts
// and 10,000 containers of three revisions in the store. It leaves out gRPC; the
// fleet's part is in its own package.
func BenchmarkPlan(b *testing.B) {
	open := map[string]func() (store.Store, error){
		"memory": func() (store.Store, error) { return memory.New(memory.Config{}), nil },
		"sqlite": func() (store.Store, error) {
			return sqlite.Open(b.Context(), sqlite.Config{Path: filepath.Join(b.TempDir(), "store.db")})
		},
	}
	for _, kind := range []string{"memory", "sqlite"} {
		b.Run(kind, func(b *testing.B) {
			s, err := open[kind]()
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					b.Error(err)
				}
			}()
			benchmarkPlan(b, s, layout{hosts: 1000, perHost: 10, revisions: 3})
		})
	}
}

func benchmarkPlan(b *testing.B, s store.Store, l layout) {
	rec, err := records.Open(b.Context(), s, func() string { return clusterID })
	if err != nil {
		b.Fatal(err)
	}
	if err := seedContainers(b.Context(), rec, l, 0); err != nil {
		b.Fatal(err)
	}
	var hosts []plan.Host
	for n := range l.hosts {
		hosts = append(hosts, row(n))
	}
	p := planner.New(rec, resolver{}, releases.New(releases.Config{AllowUnsigned: true}), rows{hosts}, time.Now)
	for c := 0; b.Loop(); c = (c + 7919) % l.containers() {
		if err := planOne(b, rec, p, l.key(c)); err != nil {
			b.Fatal(err)
		}
	}
}

func planOne(b *testing.B, rec *records.Records, p *planner.Planner, k model.ContainerKey) error {
	item, err := records.Get(b.Context(), rec, records.Containers, records.ContainerKey(k))
	if err != nil {
		return err
	}
	spec := item.Value.Spec
	spec.Tag = newTag
	draft, err := p.Draft(b.Context(), k, spec, true)
	if err != nil {
		return err
	}
	made, err := p.Propose(draft, engine.State{Container: &item.Value}, model.KindUpdate, model.UpdateOptions{})
	if err == nil && (made.Plan.Strategy != model.BlueGreen || made.Revision == nil) {
		return fmt.Errorf("the plan is %+v", made.Plan)
	}
	return err
}

func TestSeededContainersLoadAsTheCoordinatorReadsThem(t *testing.T) {
	l := layout{hosts: 3, perHost: 10, revisions: 2}
	s := memory.New(memory.Config{})
	rec, err := records.Open(t.Context(), s, func() string { return clusterID })
	if err != nil {
		t.Fatal(err)
	}
	if err := seedContainers(t.Context(), rec, l, 5); err != nil {
		t.Fatal(err)
	}
	unfinished := 0
	for c := range l.containers() {
		got, err := rec.Load(t.Context(), l.key(c))
		if err != nil {
			t.Fatalf("container %d: %v", c, err)
		}
		if got.Container.Active.ID != l.enclave(c) || got.Route.Enclave != l.enclave(c) {
			t.Errorf("container %d is served by %s, routed to %s; want %s", c, got.Container.Active.ID, got.Route.Enclave, l.enclave(c))
		}
		if got.Update != nil {
			unfinished++
		}
		if k, err := rec.ByUID(t.Context(), l.uid(c)); err != nil || k != l.key(c) {
			t.Errorf("uid of container %d leads to %v, %v", c, k, err)
		}
	}
	if unfinished != 5 {
		t.Errorf("%d updates are unfinished, want 5", unfinished)
	}
}

func TestLatenciesAreThoseOfTheRank(t *testing.T) {
	var took []time.Duration
	for n := 100; n > 0; n-- {
		took = append(took, time.Duration(n)*time.Millisecond)
	}
	got := summarize(took)
	want := latencies{Calls: 100, P50: 51 * time.Millisecond, P99: 100 * time.Millisecond, Max: 100 * time.Millisecond}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTargetsAreMissedWhenTheFiguresAre(t *testing.T) {
	good := result{
		Hosts: 10, Plan: latencies{P99: time.Millisecond}, BusyPlan: latencies{P99: time.Millisecond},
		HostBytes: 40 << 10, Recovered: time.Second, InFlight: flight{Updates: 5, Held: 5, Succeeded: 5},
	}
	for _, g := range targets(good) {
		if !g.met {
			t.Errorf("%s is missed by %s", g.name, g.got)
		}
	}
	for _, g := range targets(result{
		Plan: latencies{P99: time.Second}, BusyPlan: latencies{P99: time.Second}, HostBytes: 1 << 20, Recovered: time.Minute,
		InFlight: flight{Updates: 5, Held: 5, Succeeded: 4, Missed: 1},
	}) {
		if g.met {
			t.Errorf("%s is met by %s", g.name, g.got)
		}
	}
}

func TestGrowthIsShownAtEverySizeAndWorseThanLinearIsNamed(t *testing.T) {
	at := func(hosts int, plan, recovery time.Duration) result {
		return result{Hosts: hosts, Plan: latencies{P50: plan}, Recovered: recovery}
	}
	var out strings.Builder
	printGrowth(&out, []result{
		at(100, time.Millisecond, time.Second), at(1000, time.Millisecond, 30*time.Second), at(10_000, time.Millisecond, 1000*time.Second),
	})
	var lines []string
	for line := range strings.SplitSeq(out.String(), "\n") {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{
		"growth with hosts 100 1000 10000 power",
		"plan p50, idle 1.00 ms 1.00 ms 1.00 ms 0.00",
		"recovery 1.0 s 30.0 s 1000.0 s 1.50 worse than linear",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
}
