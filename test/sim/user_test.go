package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/pkg/release/git"
)

// releases are repositories named after the GPUs that their containers need.
type releases struct{}

// Resolve answers for every tag.
func (releases) Resolve(_ context.Context, req git.Request) (*git.Found, error) {
	return &git.Found{
		Repository: req.Repository, Tag: req.Tag, Commit: strings.Repeat("a", 39) + req.Tag[1:2],
		ConfigName: "casemate.yml", Content: configs[req.Repository],
	}, nil
}

var configs = map[string][]byte{}

func init() {
	for repo, gpus := range map[string]int{"zero": 0, "one": 1, "two": 2, "eight": 8} {
		configs[repo] = fmt.Appendf(nil, `cvm-version: 0.14.12@sha256:%s
cpus: %d
memory: 16384
gpus: %d
containers:
  - name: app
    image: ghcr.io/acme/app:v1@sha256:%s
shim:
  upstream-port: 8000
`, strings.Repeat("1", 64), 4+gpus*4, gpus, strings.Repeat("3", 64))
	}
}

// request is something a user asks for that starts an update.
type request struct {
	id      string
	create  bool
	key     model.ContainerKey
	spec    model.ContainerSpec
	options model.UpdateOptions
	update  string
}

var (
	errNothing = errors.New("nothing to do")
	errDone    = errors.New("carried out before")
)

// ask makes a user's request in the background; users give up after a while.
func (w *world) ask(what string, f func(ctx context.Context, c *coordinator) error) {
	c := w.leader()
	if c == nil || c.dead {
		w.say("user: %s: nobody answers", what)
		return
	}
	w.stats.steps++
	w.say("user: %s", what)
	go func() {
		ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
		defer cancel()
		if err := f(ctx, c); err != nil {
			w.mu.Lock()
			w.say("user: %s: %v", what, err)
			w.mu.Unlock()
		}
	}()
}

// start carries out a request as the API does: planned and committed while no
// other plan is made, with the request's id in the same commit.
func (r request) start(ctx context.Context, c *coordinator) error {
	draft, err := c.planner.Draft(ctx, r.key, r.spec, true)
	if err != nil {
		return err
	}
	decide := func(ctx context.Context, l *records.Loaded) (engine.Event, records.Extra, error) {
		return r.decide(ctx, c, l, func(kind model.Kind) (engine.Start, *model.Revision, error) {
			p, err := c.planner.Propose(draft, l.State, kind, r.options)
			if err != nil {
				return engine.Start{}, nil, err
			}
			return p.Start, p.Revision, nil
		})
	}
	return c.run.Planning(func() error {
		if r.create {
			now := c.w.now().UTC()
			_, err = c.run.Create(ctx, &model.Container{
				Org: r.key.Org, Name: r.key.Name, UID: r.uid(), Spec: r.spec, Status: model.Deploying, Created: now, Updated: now,
			}, decide)
			return err
		}
		_, err = c.run.Do(ctx, r.key, decide)
		return err
	})
}

func (r request) uid() string { return strings.ReplaceAll(r.key.Name+r.id, "-", "") }

func (r request) decide(ctx context.Context, c *coordinator, l *records.Loaded, propose func(model.Kind) (engine.Start, *model.Revision, error)) (engine.Event, records.Extra, error) {
	var extra records.Extra
	key := records.RequestKey(r.key.Org, r.id)
	if _, err := records.Get(ctx, c.rec, records.Requests, key); err == nil {
		return nil, extra, errDone
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, extra, err
	}
	if err := engine.Startable(l.State); err != nil {
		return nil, extra, err
	}
	kind := model.KindUpdate
	if r.create {
		kind = model.KindDeploy
	}
	start, revision, err := propose(kind)
	if err != nil {
		return nil, extra, err
	}
	op, err := records.Put(records.Requests, key, model.Request{
		Method: "start", Container: r.key.Name, Update: fmt.Sprintf("%s-u%d", r.key.Name, l.Container.Updates+1), Time: c.w.now().UTC(),
	})
	if err != nil {
		return nil, extra, err
	}
	extra.Revision, extra.Compares, extra.Ops = revision, []store.Compare{store.ModRevision(key, 0)}, []store.Op{op}
	return start, extra, nil
}

// submit makes a request and remembers it, so that it can be repeated.
func (w *world) submit(r request, again bool) {
	w.requests[r.id] = r
	w.last = &r
	what := fmt.Sprintf("update %s to %s%s (%s)", r.key.Name, r.spec.Tag, optionWords(r.options), r.id)
	if r.create {
		what = fmt.Sprintf("deploy %s of %s at %s (%s)", r.key.Name, r.spec.Repository, r.spec.Tag, r.id)
	}
	if again {
		what = "once more: " + what
	}
	w.ask(what, r.start)
}

func optionWords(o model.UpdateOptions) string {
	var words []string
	if o.Strategy != "" {
		words = append(words, string(o.Strategy))
	}
	if o.Hold {
		words = append(words, "hold")
	}
	if o.AllowDowntime {
		words = append(words, "allow downtime")
	}
	if o.RestoreOnFailure {
		words = append(words, "restore on failure")
	}
	if len(words) == 0 {
		return ""
	}
	return " with " + strings.Join(words, ", ")
}

// event asks for one event of the engine on behalf of a user.
func (w *world) event(what string, k model.ContainerKey, make func(l *records.Loaded) (engine.Event, error)) {
	w.ask(what, func(ctx context.Context, c *coordinator) error {
		_, err := c.run.Do(ctx, k, func(_ context.Context, l *records.Loaded) (engine.Event, records.Extra, error) {
			ev, err := make(l)
			return ev, records.Extra{}, err
		})
		return err
	})
}

// onUpdate is event for what is about the update in progress.
func (w *world) onUpdate(what string, k model.ContainerKey, make func(u *model.Update) engine.Event) {
	w.event(what, k, func(l *records.Loaded) (engine.Event, error) {
		if l.Update == nil {
			return nil, errNothing
		}
		return make(l.Update), nil
	})
}

// requestSeen notes what a request id has led to: I9.
func (w *world) requestSeen(key string, r model.Request) {
	id := key[strings.LastIndexByte(key, '/')+1:]
	req := w.requests[id]
	if req.update != "" {
		w.violate("I9", "request %s led to %s and to %s", id, req.update, r.Update)
	}
	req.update = r.Update
	w.requests[id] = req
}
