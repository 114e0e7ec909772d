package engine

import (
	"slices"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// keptLost is how many lost enclaves a route names: a gateway that was away hears
// of as many when it is back.
const keptLost = 16

// closeConnections has the gateways close what they have open to enclaves on a
// host that was given up for good: no word of their end will ever come. They do so
// whatever the route's generation, which stays: it leads where it led.
func (t *transition) closeConnections(host string) {
	lost := t.mayBeConnected(host)
	if len(lost) == 0 {
		return
	}
	r := t.s.Route
	all := slices.Concat(r.Lost, lost)
	r.Lost = all[max(0, len(all)-keptLost):]
	r.Updated, t.changed = t.now, true
}

// mayBeConnected returns the enclaves on a host that clients may be connected to.
func (t *transition) mayBeConnected(host string) []string {
	var out []string
	add := func(ref *model.EnclaveRef) {
		if ref != nil && ref.Host == host && !slices.Contains(out, ref.ID) && !slices.Contains(t.s.Route.Lost, ref.ID) {
			out = append(out, ref.ID)
		}
	}
	c := t.s.Container
	add(c.Active)
	if u := t.active(); u != nil && !u.OldGone {
		add(u.Old)
	}
	for i := range c.Leftovers {
		add(&c.Leftovers[i])
	}
	return out
}
