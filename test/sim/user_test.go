package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
)

const org = "acme"

// request is something a user asks for. It has a request id, so that it can be
// made again: answer is what it led to, as far as that can be told.
type request struct {
	id, what string
	make     func(ctx context.Context, c *conn) (answer string, err error)
	// patience is how long the user waits.
	patience time.Duration
}

// promised is what a request id has led to: once, and for good.
type promised struct {
	written        bool
	update, answer string
}

// patience is how long users wait for what takes no time of its own.
const patience = 30 * time.Second

// newID is the request id of a new request; mu is held.
func (w *world) newID() string {
	w.serial++
	return fmt.Sprintf("q%d", w.serial)
}

// submit makes a request in the background and remembers it, so that it can be
// repeated. mu is held.
func (w *world) submit(r request) {
	if r.patience == 0 {
		r.patience = patience
	}
	w.last = &r
	c := w.leader()
	if c == nil || c.dead {
		w.say("user: %s: nobody answers", r.what)
		return
	}
	w.stats.steps++
	w.say("user: %s (%s)", r.what, r.id)
	go func() {
		ctx, cancel := context.WithTimeout(c.ctx, r.patience)
		defer cancel()
		answer, err := r.make(ctx, c.conn)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.say("user: %s: %v", r.what, err)
			w.answeredBadly(c.conn, r.what, err)
			return
		}
		w.answered(r, answer)
	}()
}

// answered holds an answer against what the request id has led to: I9.
func (w *world) answered(r request, answer string) {
	if answer == "" {
		return
	}
	p := w.requests[r.id]
	for _, led := range []string{p.update, p.answer} {
		if led != "" && led != answer {
			w.violate("I9", "request %s (%s) led to %s and is answered with %s", r.id, r.what, led, answer)
		}
	}
	p.answer = answer
	w.requests[r.id] = p
}

// answeredBadly: an error that a person gets names a reason, and nothing but a
// broken disk is the server's own fault.
func (w *world) answeredBadly(c *conn, what string, err error) {
	if c.ctx.Err() != nil || errors.Is(err, errLost) {
		return
	}
	if rpc.Reason(err) == "" {
		w.violate("API", "%s is answered without a reason: %v", what, err)
	}
	if code := rpc.Code(err); (code == codes.Internal || code == codes.Unknown) && !strings.Contains(err.Error(), store.ErrIO.Error()) {
		w.violate("API", "%s is answered %s: %v", what, code, err)
	}
}

// requestSeen notes what a request id has led to as it is committed: I9.
func (w *world) requestSeen(key string, r model.Request) {
	id := key[strings.LastIndexByte(key, '/')+1:]
	if p := w.requests[id]; p.written {
		w.violate("I9", "request %s led to %q, and once more to %q", id, p.update, r.Update)
	}
	w.requests[id] = promised{written: true, update: r.Update}
}

// creates asks for a new container.
func (w *world) creates(name string, spec *cv1.ContainerSpec) request {
	id := w.newID()
	return request{
		id: id, what: fmt.Sprintf("deploy %s of %s at %s", name, spec.GetRepository(), spec.GetTag()),
		make: func(ctx context.Context, c *conn) (string, error) {
			out, err := cv1.NewContainerServiceClient(c).CreateContainer(ctx, &cv1.CreateContainerRequest{Org: org, Name: name, Spec: spec, RequestId: id})
			return out.GetUpdate().GetId(), err
		},
	}
}

// copies asks for a new container like another one.
func (w *world) copies(source, name string) request {
	id := w.newID()
	return request{
		id: id, what: fmt.Sprintf("deploy %s like %s", name, source),
		make: func(ctx context.Context, c *conn) (string, error) {
			out, err := cv1.NewContainerServiceClient(c).CopyContainer(ctx, &cv1.CopyContainerRequest{
				Org: org, Source: source, Name: name, RequestId: id,
				Spec: &cv1.ContainerSpec{Domain: domain(name)}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"domain"}},
			})
			return out.GetUpdate().GetId(), err
		},
	}
}

func domain(name string) string { return name + ".example" }

// updates asks for an update to a tag; a careful user looks at the plan first
// and agrees to that one only.
func (w *world) updates(name, tag string, o *cv1.UpdateOptions, careful bool) request {
	id := w.newID()
	r := request{id: id, what: fmt.Sprintf("update %s to %s%s", name, tag, optionWords(o))}
	if o.GetSupersede() {
		r.patience = 6 * time.Minute
	}
	mask := &fieldmaskpb.FieldMask{Paths: []string{"tag"}}
	if tag == "" {
		r.what, mask = fmt.Sprintf("redeploy %s%s", name, optionWords(o)), nil
	}
	etag := ""
	r.make = func(ctx context.Context, c *conn) (string, error) {
		users := cv1.NewUpdateServiceClient(c)
		spec := &cv1.ContainerSpec{Tag: tag}
		if careful && etag == "" {
			p, err := users.PlanUpdate(ctx, &cv1.PlanUpdateRequest{Org: org, Container: name, Spec: spec, UpdateMask: mask, Options: o})
			if err != nil {
				return "", err
			}
			etag = p.GetPlan().GetEtag()
		}
		out, err := users.StartUpdate(ctx, &cv1.StartUpdateRequest{
			Org: org, Container: name, Spec: spec, UpdateMask: mask, Options: o, PlanEtag: etag, RequestId: id,
		})
		return out.GetUpdate().GetId(), err
	}
	return r
}

func (w *world) accepts(name, update string) request {
	id := w.newID()
	return request{id: id, what: "accept " + name, make: func(ctx context.Context, c *conn) (string, error) {
		out, err := cv1.NewUpdateServiceClient(c).AcceptUpdate(ctx, &cv1.AcceptUpdateRequest{Org: org, Container: name, Id: update, RequestId: id})
		return out.GetUpdate().GetId(), err
	}}
}

func (w *world) cancels(name, update string) request {
	id := w.newID()
	return request{id: id, what: "cancel " + name, make: func(ctx context.Context, c *conn) (string, error) {
		out, err := cv1.NewUpdateServiceClient(c).CancelUpdate(ctx, &cv1.CancelUpdateRequest{Org: org, Container: name, Id: update, RequestId: id})
		return out.GetUpdate().GetId(), err
	}}
}

// forces ends the wait in the step that is committed now.
func (w *world) forces(name string, u *model.Update) request {
	id, update := w.newID(), u.ID
	step := cv1.UpdateStep(cv1.UpdateStep_value["UPDATE_STEP_"+string(u.Step)])
	w.forced[u.ID+string(u.Step)] = true
	return request{id: id, what: fmt.Sprintf("force %s in %s", name, u.Step), make: func(ctx context.Context, c *conn) (string, error) {
		out, err := cv1.NewUpdateServiceClient(c).ForceUpdate(ctx, &cv1.ForceUpdateRequest{Org: org, Container: name, Id: update, Step: step, RequestId: id})
		return out.GetUpdate().GetId(), err
	}}
}

func (w *world) stops(name string) request {
	id := w.newID()
	return request{id: id, what: "stop " + name, make: func(ctx context.Context, c *conn) (string, error) {
		_, err := cv1.NewContainerServiceClient(c).StopContainer(ctx, &cv1.StopContainerRequest{Org: org, Name: name, RequestId: id})
		return "", err
	}}
}

func (w *world) deletes(name string) request {
	id := w.newID()
	return request{id: id, what: "delete " + name, make: func(ctx context.Context, c *conn) (string, error) {
		_, err := cv1.NewContainerServiceClient(c).DeleteContainer(ctx, &cv1.DeleteContainerRequest{Org: org, Name: name, RequestId: id})
		return "", err
	}}
}

// starts asks for what was stopped, or failed, once more.
func (w *world) starts(name string) request {
	id := w.newID()
	return request{id: id, what: "start " + name, make: func(ctx context.Context, c *conn) (string, error) {
		out, err := cv1.NewContainerServiceClient(c).StartContainer(ctx, &cv1.StartContainerRequest{Org: org, Name: name, RequestId: id})
		return out.GetUpdate().GetId(), err
	}}
}

// keeps gives a secret a value, or makes or deletes it.
func (w *world) keeps(how uint8) request {
	id, name := w.newID(), "API_KEY"
	value := []byte(id)
	switch how % 4 {
	case 0:
		return request{id: id, what: "make the secret " + name, make: func(ctx context.Context, c *conn) (string, error) {
			_, err := cv1.NewSecretServiceClient(c).CreateSecret(ctx, &cv1.CreateSecretRequest{Org: org, Name: name, Value: value, RequestId: id})
			return "", err
		}}
	case 1:
		return request{id: id, what: "delete the secret " + name, make: func(ctx context.Context, c *conn) (string, error) {
			_, err := cv1.NewSecretServiceClient(c).DeleteSecret(ctx, &cv1.DeleteSecretRequest{Org: org, Name: name, RequestId: id})
			return "", err
		}}
	}
	return request{id: id, what: "set the secret " + name, make: func(ctx context.Context, c *conn) (string, error) {
		_, err := cv1.NewSecretServiceClient(c).SetSecret(ctx, &cv1.SetSecretRequest{Org: org, Name: name, Value: value, RequestId: id})
		return "", err
	}}
}

func optionWords(o *cv1.UpdateOptions) string {
	var words []string
	if o.GetStrategy() != cv1.Strategy_STRATEGY_UNSPECIFIED {
		words = append(words, strings.TrimPrefix(o.GetStrategy().String(), "STRATEGY_"))
	}
	for _, x := range []struct {
		word string
		set  bool
	}{
		{"hold", o.GetHold()}, {"allow downtime", o.GetAllowDowntime()},
		{"restore on failure", o.GetRestoreOnFailure()}, {"supersede", o.GetSupersede()},
	} {
		if x.set {
			words = append(words, x.word)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " with " + strings.Join(words, ", ")
}
