package sim

import (
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/gateways"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// gateway sends connections where its routes say; those are on its disk.
type gateway struct {
	w          *world
	name       string
	up, linked bool
	routes     map[string]model.Route
	conns      map[string]int64
	tracker    *gateways.Tracker
	disconnect func()
	conn       int
	since      time.Time
	// had are the enclaves that it has told connections of.
	had map[string]bool
}

func newGateway(w *world, name string) *gateway {
	return &gateway{w: w, name: name, up: true, linked: true, routes: map[string]model.Route{}, conns: map[string]int64{}, had: map[string]bool{}}
}

// connect begins to watch the leader's routes.
func (g *gateway) connect() {
	c := g.w.leader()
	if g.disconnect != nil || !g.up || !g.linked || c == nil || c.dead {
		return
	}
	g.conn++
	g.since = time.Now()
	g.tracker, g.disconnect = c.tracker, c.tracker.Connect(g.name)
	for _, r := range g.w.view.routes {
		g.send(r)
	}
	g.report()
}

func (g *gateway) lost() {
	if g.disconnect == nil {
		return
	}
	end := g.disconnect
	g.disconnect, g.tracker = nil, nil
	end()
}

// reconnectGateways lets every gateway find the leader after a while.
func (w *world) reconnectGateways() {
	for _, g := range w.gates {
		w.later(w.between("gateway "+g.name, 10*time.Millisecond, 3*time.Second), g.connect)
	}
}

// send delivers a route after a while; routes may overtake each other.
func (g *gateway) send(r model.Route) {
	if g.disconnect == nil {
		return
	}
	conn := g.conn
	g.w.later(g.w.latency("route "+g.name), func() {
		if g.conn == conn && g.disconnect != nil {
			g.apply(r)
		}
	})
}

func (g *gateway) apply(r model.Route) {
	have, ok := g.routes[r.Domain]
	if ok && (r.Generation < have.Generation || r.Generation == have.Generation && !leadsAlike(r, have)) {
		return
	}
	g.w.closesTheLost(g, have, r)
	g.routes[r.Domain] = r
	if r.State == model.RouteServing && !r.Deleted && (!ok || have.Generation != r.Generation) {
		g.conns[r.Enclave] += int64(g.w.roll("clients "+g.name) % 4)
		if ok && have.Enclave != r.Enclave {
			g.finish(have.Enclave)
		}
	}
	if r.State == model.RouteClosed {
		g.finish(r.Enclave)
	}
	g.report()
}

// leadsAlike says whether two routes are one to a gateway, which has lost enclaves
// apart from the generation.
func leadsAlike(a, b model.Route) bool {
	a.Lost, a.Updated = b.Lost, b.Updated
	return a.Equal(b)
}

// finish lets the connections to an enclave end in their own time.
func (g *gateway) finish(id string) {
	if g.conns[id] == 0 {
		return
	}
	g.w.later(g.w.between("finish "+g.name+id, time.Millisecond, 50*time.Second), func() {
		if g.conns[id] > 0 {
			g.conns[id]--
			g.report()
			g.finish(id)
		}
	})
}

// report tells the coordinator what is in effect and how many connections there
// are.
func (g *gateway) report() {
	if g.disconnect == nil {
		return
	}
	conn := g.conn
	g.w.later(g.w.latency("ack "+g.name), func() {
		if g.conn != conn || g.disconnect == nil {
			return
		}
		var acks []gateways.Ack
		for d, r := range g.routes {
			acks = append(acks, gateways.Ack{Domain: d, Generation: r.Generation})
		}
		var open []gateways.Connections
		for id, n := range g.conns {
			g.had[id] = true
			open = append(open, gateways.Connections{Enclave: id, Open: n})
		}
		for id := range g.had {
			if _, ok := g.conns[id]; !ok {
				open = append(open, gateways.Connections{Enclave: id})
			}
		}
		g.tracker.Acknowledge(g.name, acks, open)
	})
}

func (g *gateway) crash() {
	g.up = false
	g.conns = map[string]int64{}
	g.lost()
}

// cutConnections follows the end of an enclave.
func (w *world) cutConnections(id string) {
	for _, g := range w.gates {
		if g.conns[id] > 0 {
			g.conns[id] = 0
			g.report()
		}
	}
}
