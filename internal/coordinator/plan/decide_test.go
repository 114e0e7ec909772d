package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func host(name string, gpus int, offers ...int) Host {
	return Host{Name: name, Free: model.Room{GPUs: gpus, CPUs: 64, MemoryMiB: 1 << 20}, Offers: offers, Counts: []int{1, 8}}
}

func unheardOf(name string) Host {
	return Host{Name: name, Down: "has not answered yet", Joining: true}
}

func need(gpus int) model.Room { return model.Room{GPUs: gpus, CPUs: 4, MemoryMiB: 8192} }

func TestDecide(t *testing.T) {
	on := func(name string, gpus int) *model.EnclaveRef {
		return &model.EnclaveRef{ID: "old", Host: name, Room: need(gpus)}
	}
	for _, tc := range []struct {
		rule     string
		hosts    []Host
		request  Request
		strategy model.Strategy
		host     string
		refused  string
		says     string
	}{
		{
			rule:  "a first deployment goes where it fits",
			hosts: []Host{host("a", 8, 1, 8)}, request: Request{Room: need(1)},
			strategy: model.BlueGreen, host: "a",
		}, {
			rule:  "best fit: the fullest host that fits, so that whole hosts stay whole",
			hosts: []Host{host("a", 8, 1, 8), host("b", 3, 1)}, request: Request{Room: need(1)},
			strategy: model.BlueGreen, host: "b",
		}, {
			rule:  "ties are settled by name",
			hosts: []Host{host("a", 8, 1, 8), host("b", 8, 1, 8)}, request: Request{Room: need(8)},
			strategy: model.BlueGreen, host: "a",
		}, {
			rule:  "8 GPUs with a second empty host are updated blue-green",
			hosts: []Host{host("a", 0), host("b", 8, 1, 8)}, request: Request{Room: need(8), Old: on("a", 8)},
			strategy: model.BlueGreen, host: "b",
		}, {
			rule:  "8 GPUs without a second empty host are replaced",
			hosts: []Host{host("a", 0), host("b", 7, 1)}, request: Request{Room: need(8), Old: on("a", 8)},
			strategy: model.Replace, host: "a", says: "7 of 8 GPUs free",
		}, {
			rule:  "1 GPU on a full fleet is refused",
			hosts: []Host{host("a", 0)}, request: Request{Room: need(1), Old: on("a", 1)},
			refused: "DOWNTIME_REQUIRED", says: "--allow-downtime",
		}, {
			rule:  "1 GPU on a full fleet is replaced if downtime is allowed",
			hosts: []Host{host("a", 0)}, request: Request{Room: need(1), Old: on("a", 1), AllowDowntime: true},
			strategy: model.Replace, host: "a",
		}, {
			rule:  "a forced blue-green that can't be had is refused",
			hosts: []Host{host("a", 0)}, request: Request{Room: need(8), Old: on("a", 8), Strategy: model.BlueGreen, AllowDowntime: true},
			refused: "STRATEGY_UNAVAILABLE",
		}, {
			rule:  "a forced replace is followed although there is room",
			hosts: []Host{host("a", 0), host("b", 8, 1, 8)}, request: Request{Room: need(8), Old: on("a", 8), Strategy: model.Replace},
			strategy: model.Replace, host: "a",
		}, {
			rule:  "a replace of nothing is refused",
			hosts: []Host{host("a", 8, 1, 8)}, request: Request{Room: need(8), Strategy: model.Replace},
			refused: "STRATEGY_UNAVAILABLE",
		}, {
			rule:  "a hold can't be had by replacing",
			hosts: []Host{host("a", 0)}, request: Request{Room: need(8), Old: on("a", 8), Hold: true},
			refused: "HOLD_NEEDS_BLUE_GREEN",
		}, {
			rule:  "no host has room: each is named with what is missing",
			hosts: []Host{host("a", 3, 1), {Name: "b", Down: "unreachable"}}, request: Request{Room: need(8)},
			refused: "NO_CAPACITY", says: "a: 3 of 8 GPUs free; b: unreachable",
		}, {
			rule:  "growing from 1 to 8 GPUs does not fit by stopping the old one",
			hosts: []Host{host("a", 3, 1)}, request: Request{Room: need(8), Old: on("a", 1)},
			refused: "NO_CAPACITY",
		}, {
			rule:  "a pinned host is the only one",
			hosts: []Host{host("a", 8, 1, 8), host("b", 1, 1)}, request: Request{Room: need(1), Pin: "a"},
			strategy: model.BlueGreen, host: "a",
		}, {
			rule:  "a pinned host that is not known is named",
			hosts: []Host{host("a", 8, 1, 8)}, request: Request{Room: need(1), Pin: "z"},
			refused: "NO_CAPACITY", says: "host z is not known",
		}, {
			rule:  "a host that refused the claim is avoided",
			hosts: []Host{host("a", 8, 1, 8), host("b", 8, 1, 8)}, request: Request{Room: need(1), Avoid: "a"},
			strategy: model.BlueGreen, host: "b",
		}, {
			rule:    "a count the host never gives is told apart from one it can't give now",
			hosts:   []Host{{Name: "a", Free: model.Room{GPUs: 8, CPUs: 64, MemoryMiB: 1 << 20}, Offers: []int{1}, Counts: []int{1}}},
			request: Request{Room: need(4)}, refused: "NO_CAPACITY", says: "never gives 4 GPUs",
		}, {
			rule:    "no GPU is needed and vCPUs are short",
			hosts:   []Host{{Name: "a", Free: model.Room{CPUs: 2, MemoryMiB: 1 << 20}}},
			request: Request{Room: need(0)}, refused: "NO_CAPACITY", says: "2 of 4 vCPUs free",
		}, {
			rule:  "a host that has yet to answer holds up nothing that fits elsewhere",
			hosts: []Host{unheardOf("a"), host("b", 8, 1, 8)}, request: Request{Room: need(1)},
			strategy: model.BlueGreen, host: "b",
		}, {
			rule:  "that nothing has room is not said while hosts have yet to answer",
			hosts: []Host{host("a", 0), unheardOf("b")}, request: Request{Room: need(1)},
			refused: HostsJoining, says: "hosts b have not answered",
		}, {
			rule:  "no downtime is decided on while hosts have yet to answer",
			hosts: []Host{host("a", 0), unheardOf("b")}, request: Request{Room: need(8), Old: on("a", 8)},
			refused: HostsJoining,
		}, {
			rule:  "a replace that is asked for waits for its own host",
			hosts: []Host{unheardOf("a"), host("b", 8, 1, 8)}, request: Request{Room: need(8), Old: on("a", 8), Strategy: model.Replace},
			refused: HostsJoining,
		}, {
			rule:  "a replace that is asked for waits for no other host",
			hosts: []Host{host("a", 0), unheardOf("b")}, request: Request{Room: need(8), Old: on("a", 8), Strategy: model.Replace},
			strategy: model.Replace, host: "a",
		}, {
			rule:  "a replace of nothing is refused whoever has yet to answer",
			hosts: []Host{unheardOf("a")}, request: Request{Room: need(8), Strategy: model.Replace},
			refused: "STRATEGY_UNAVAILABLE",
		}, {
			rule:  "a pinned request waits for its host",
			hosts: []Host{unheardOf("a"), host("b", 8, 1, 8)}, request: Request{Room: need(1), Pin: "a"},
			refused: HostsJoining,
		}, {
			rule:  "a pinned request waits for no other host",
			hosts: []Host{host("a", 0), unheardOf("b")}, request: Request{Room: need(1), Pin: "a"},
			refused: "NO_CAPACITY",
		}, {
			rule:  "a host that refused the claim is not waited for",
			hosts: []Host{unheardOf("a"), host("b", 0)}, request: Request{Room: need(1), Avoid: "a"},
			refused: "NO_CAPACITY",
		}, {
			rule:  "of many hosts that have yet to answer some are named",
			hosts: slices.Repeat([]Host{unheardOf("a")}, named+7), request: Request{Room: need(1)},
			refused: HostsJoining, says: "and 7 more have not answered",
		},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			d, err := Decide(slices.Collect(slices.Chunk(tc.hosts, 1)), tc.request)
			var r *Refused
			if tc.refused != "" {
				if !errors.As(err, &r) || r.Reason != tc.refused {
					t.Fatalf("got %+v, %v; want a refusal %s", d, err, tc.refused)
				}
				if !strings.Contains(r.Text, tc.says) {
					t.Errorf("refusal says %q, want it to say %q", r.Text, tc.says)
				}
				return
			}
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			if d.Strategy != tc.strategy || d.Host != tc.host {
				t.Errorf("got %s on %s, want %s on %s", d.Strategy, d.Host, tc.strategy, tc.host)
			}
			if d.Downtime != (d.Strategy == model.Replace) {
				t.Errorf("downtime = %v for %s", d.Downtime, d.Strategy)
			}
			if !strings.Contains(d.Reason, tc.says) {
				t.Errorf("reason %q does not say %q", d.Reason, tc.says)
			}
		})
	}
}

func BenchmarkDecide10000Hosts(b *testing.B) {
	hosts := make([]Host, 10_000)
	for i := range hosts {
		hosts[i] = host("h"+string(rune('a'+i%26)), i%9, 1)
	}
	for b.Loop() {
		if _, err := Decide(Hosts{hosts}, Request{Room: need(1)}); err != nil {
			b.Fatal(err)
		}
	}
}
