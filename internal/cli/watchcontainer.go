package cli

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/follow"
	"github.com/casemate-dev/casemate/internal/cli/view"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// watchContainer follows one container until over says so or it is gone, with a
// line for every status, and returns its last state.
func (a *app) watchContainer(ctx context.Context, c *cv1.Container, over func(*cv1.Container) (bool, error)) (*cv1.Container, error) {
	l, err := a.connect()
	if err != nil {
		return c, err
	}
	w := &containerWatch{app: a, last: c, over: over}
	if err := w.show(); err != nil {
		return c, err
	}
	err = follow.Run(ctx, a.env.Patience, follow.Watch[cv1.WatchContainersResponse]{
		Open: func(ctx context.Context, token string) (grpc.ServerStreamingClient[cv1.WatchContainersResponse], error) {
			return l.containers.WatchContainers(ctx, &cv1.WatchContainersRequest{Org: l.org, Name: c.GetName(), ResumeToken: token})
		},
		Token:  (*cv1.WatchContainersResponse).GetResumeToken,
		Fresh:  func() { w.seen = false },
		Broken: a.broken,
		Take:   w.take,
	})
	if rpc.Code(err) == codes.NotFound {
		return w.last, nil
	}
	return w.last, err
}

// broken tells that a watch broke and is begun again.
func (a *app) broken(err error) {
	_, _ = fmt.Fprintln(a.env.Err, "connection broken ("+view.Name(dialCause(rpc.Text(err)))+"): trying again")
}

// containerWatch is the watch of one container.
type containerWatch struct {
	app  *app
	last *cv1.Container
	over func(*cv1.Container) (bool, error)
	// seen says that the container was in the snapshot, shown what was told last.
	seen  bool
	shown string
}

// take ends the watch when the container has come where it was to come, or is
// gone, or another one has its name.
func (w *containerWatch) take(m *cv1.WatchContainersResponse) (bool, error) {
	now, name := m.GetChanged(), w.last.GetName()
	switch {
	case now == nil:
		return m.GetDeleted().GetName() == name || m.GetSynced() != nil && !w.seen, nil
	case now.GetName() != name:
		return false, nil
	case now.GetUid() != w.last.GetUid():
		return true, nil
	}
	w.last, w.seen = now, true
	if done, err := w.over(now); done {
		return true, err
	}
	return false, w.show()
}

// show tells the status if it is another one.
func (w *containerWatch) show() error {
	return w.app.say(func(v view.View) string {
		text := view.Name(w.last.GetName()) + " is " + v.Status(w.last) + "\n"
		if text == w.shown {
			return ""
		}
		w.shown = text
		return text
	})
}
