package fleet

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/plan"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// still is a fleet that follows nobody: what hosts say is set by hand.
func still(t testing.TB, hosts int) *Fleet {
	t.Helper()
	f, err := New(Config{
		Log: slog.New(slog.DiscardHandler), ClusterID: "c", Epoch: 1, Now: time.Now,
		Profiles: []agentv1.CvmProfile{agentv1.CvmProfile_CVM_PROFILE_NONE},
		Dial:     func(address string) (Conn, error) { return rpc.Dial(address) },
		Note:     (&noted{}).note,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, name := range f.Names() {
			if err := f.Remove(name); err != nil {
				t.Error(err)
			}
		}
	})
	for n := range hosts {
		join(t, f, hostName(n))
	}
	return f
}

func hostName(n int) string { return fmt.Sprintf("h%04d", n) }

// join adds a host that is ready at once.
func join(t testing.TB, f *Fleet, name string) {
	t.Helper()
	if err := f.Add(model.Host{Name: name, Address: "nowhere"}); err != nil {
		t.Fatal(err)
	}
	say(f, name, func(s *session) { s.facts, s.status = facts(8), Ready })
}

// say changes what a host says.
func say(f *Fleet, name string, change func(*session)) {
	if s, err := f.session(name); err == nil {
		s.update(func() { change(s) })
	}
}

// anew works every host's place out without what is kept.
func (f *Fleet) anew() []plan.Host {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var hosts []plan.Host
	for name, s := range f.hosts {
		hosts = append(hosts, f.place(name, s))
	}
	slices.SortFunc(hosts, func(a, b plan.Host) int { return byName(a, b.Name) })
	return hosts
}

func TestPlanIsWhatItWouldBeWorkedOutAnew(t *testing.T) {
	f := still(t, 2*pageSize)
	rnd := rand.New(rand.NewPCG(1, 2))
	for step := range 600 {
		name := hostName(rnd.IntN(3 * pageSize))
		r := model.Reservation{Enclave: fmt.Sprint("e", rnd.IntN(5)), Host: name, Room: model.Room{GPUs: rnd.IntN(3), CPUs: 2}}
		switch rnd.IntN(7) {
		case 0:
			join(t, f, name)
		case 1:
			if err := f.Remove(name); err != nil {
				t.Fatal(err)
			}
		case 2:
			f.Unpromise(r)
		case 3:
			say(f, name, func(s *session) { s.status = Unreachable })
		case 4:
			say(f, name, func(s *session) { s.facts, s.status = held(8, map[string]int{"e1": rnd.IntN(4)}), Ready })
		default:
			f.Promise(r)
		}
		if rnd.IntN(3) > 0 {
			continue
		}
		if diff := cmp.Diff(f.anew(), slices.Concat(f.Plan()...)); diff != "" {
			t.Fatalf("after %d steps the plan's hosts are not what they are (-want +got):\n%s", step, diff)
		}
	}
}

func TestPlanOnceGivenOutDoesNotChange(t *testing.T) {
	f := still(t, 3)
	before := slices.Concat(f.Plan()...)
	given := f.Plan()
	f.Promise(model.Reservation{Enclave: "e", Host: hostName(1), Room: model.Room{GPUs: 4}})
	if err := f.Remove(hostName(0)); err != nil {
		t.Fatal(err)
	}
	if after := slices.Concat(f.Plan()...); len(after) != 2 || after[0].Free.GPUs != 4 {
		t.Errorf("the new plan has %+v", after)
	}
	if diff := cmp.Diff(before, slices.Concat(given...)); diff != "" {
		t.Errorf("the plan given out before has changed:\n%s", diff)
	}
}

// BenchmarkPlan is what a plan costs after one host has changed.
func BenchmarkPlan(b *testing.B) {
	for _, hosts := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(hosts, " hosts"), func(b *testing.B) {
			f := still(b, hosts)
			r := model.Reservation{Enclave: "e", Host: hostName(0), Room: model.Room{GPUs: 1}}
			for b.Loop() {
				f.Promise(r)
				if _, err := plan.Decide(f.Plan(), plan.Request{Room: model.Room{GPUs: 1}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
