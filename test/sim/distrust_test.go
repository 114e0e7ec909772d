package sim

import (
	"context"
	"fmt"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// attests has the evidence of what serves judged again.
func (w *world) attests(name string) request {
	return request{id: "attest", what: "judge " + name + " again", patience: 2 * patience, make: func(ctx context.Context, c *conn) (string, error) {
		_, err := cv1.NewContainerServiceClient(c).AttestContainer(ctx, &cv1.AttestContainerRequest{Org: org, Name: name})
		return "", err
	}}
}

// judgeAgain asks for the evidence of what serves, which more often than not has
// gone bad since it was accepted.
func (w *world) judgeAgain(a action) {
	if a.B%3 > 0 {
		w.spoil(a.name())
	}
	w.submit(w.attests(a.name()))
}

// spoil makes the evidence of what serves a container bad.
func (w *world) spoil(name string) {
	s := w.view.containers[org+"/"+name]
	if s == nil || s.container == nil || s.container.Active == nil {
		return
	}
	a := s.container.Active
	if e := w.host(a.Host).enclaves[a.ID]; e != nil {
		w.say("the evidence of %s on %s goes bad", a.ID, a.Host)
		e.fate = wrongEvidence
		delete(w.quiet, s.key)
	}
}

// noWayBack: an enclave from which the route was taken because its evidence was
// refused is led to no more, whatever becomes of updates.
func (w *world) noWayBack(s *seen, was change) {
	r := w.view.routes[s.container.Spec.Domain]
	if r.State == model.RouteServing && r.Generation != was.route.Generation && w.distrusted[r.Enclave] {
		w.violate("I13", "%s leads to %s, whose evidence was refused while it served", r.Domain, r.Enclave)
	}
	w.noteDistrust(s)
}

// noteDistrust remembers what is on record as trusted no more.
func (w *world) noteDistrust(s *seen) {
	c := s.container
	if c != nil && c.Active != nil && c.Reason == engine.ReasonDistrusted && w.view.routes[c.Spec.Domain].State != model.RouteServing {
		w.distrusted[c.Active.ID] = true
	}
}

// distrustedRests says why a container is not at rest whose enclave is trusted no
// more.
func distrustedRests(c *model.Container, r model.Route) string {
	if c.Status != model.Failed || c.Reason != engine.ReasonDistrusted || r.State != model.RouteClosed {
		return fmt.Sprintf("the evidence of %s was refused, and %s is %s (%s), its route %s", c.Active.ID, c.Name, c.Status, c.Reason, r.State)
	}
	return ""
}
