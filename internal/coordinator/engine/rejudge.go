package engine

import (
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// ReasonDistrusted is the reason of a container whose enclave was accepted once, and
// whose evidence the coordinator has refused since.
const ReasonDistrusted = "ATTESTATION_REFUSED"

// Rejudged says what came of judging the evidence of the enclave that serves again:
// the coordinator's own judgement, never an agent's word.
type Rejudged struct {
	Enclave string
	// Failure is why the evidence was refused; nil if it was accepted.
	Failure *Failure
	// Close takes the route away from an enclave that was refused.
	Close bool
}

func (Rejudged) event() {}

// rejudged closes the route to an enclave that is trusted no more, if the policy says
// so, and tells. The enclave is left as it is, for whoever wants to look at it: what
// follows is a person's decision. A route that was closed for this stays closed until
// another enclave is switched to, whatever becomes of updates meanwhile.
func (t *transition) rejudged(ev Rejudged) {
	c := t.s.Container
	if c.Active == nil || c.Active.ID != ev.Enclave || c.Teardown != nil {
		return
	}
	if ev.Failure == nil {
		if c.Reason == ReasonDistrusted && !t.distrusted() {
			c.Reason, c.Text, t.changed = "", "", true
			t.tell(model.Info, "ENCLAVE_TRUSTED", "the evidence of %s is accepted again", ev.Enclave)
		}
		return
	}
	if c.Reason == ReasonDistrusted && (t.distrusted() || !ev.Close) {
		return // told before
	}
	c.Reason, t.changed = ReasonDistrusted, true
	c.Text = "the evidence of " + ev.Enclave + " was refused when it was judged again; "
	if ev.Close {
		t.distrust()
		c.Text += "its route is closed: redeploy it, or update it to a release that can be trusted"
	} else {
		c.Text += "it still gets traffic, as the policy says"
	}
	c.Text += ": " + ev.Failure.Text
	t.tell(model.Error, "ENCLAVE_DISTRUSTED", "%s", c.Text)
}

// distrust takes the route from what serves. A route that is held for a replace sends
// nobody there, and is closed at its end if nothing was switched to.
func (t *transition) distrust() {
	c, r := t.s.Container, t.s.Route
	c.Distrusted = c.Active.ID
	if r.State == model.RouteServing && r.Enclave == c.Active.ID {
		t.nextRoute(model.RouteClosed, nil)
	}
	if u := t.active(); u == nil || u.Switched {
		c.Status = model.Failed
	}
}

// distrusted says whether what serves is what the route was taken from.
func (t *transition) distrusted() bool {
	c := t.s.Container
	return c.Active != nil && c.Active.ID == c.Distrusted
}
