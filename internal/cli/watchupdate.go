package cli

import (
	"context"
	"time"

	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/follow"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// watchUpdate shows an update until g has ended, and returns its last state.
func (a *app) watchUpdate(ctx context.Context, u *cv1.Update, g goal) (*cv1.Update, error) {
	l, err := a.connect()
	if err != nil {
		return u, err
	}
	show, leave := a.shower(g.shown)
	defer leave()
	if err := show.state(u); err != nil {
		return u, err
	}
	w := newUpdateWatch(l, u)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx, a.env.Patience) }()
	last, err, over := a.showUpdate(w, show, u, g, ended)
	cancel()
	if !over {
		<-ended //nolint:errcheck // it was cancelled: what it says then is no news
	}
	return last, err
}

// showUpdate shows what a watch tells until g has ended or the watch is over.
//
//nolint:revive // whether the watch is over is not a result beside the error
func (a *app) showUpdate(w *updateWatch, show shower, last *cv1.Update, g goal, ended <-chan error) (_ *cv1.Update, err error, over bool) {
	tick := time.NewTicker(a.env.Redraw)
	defer tick.Stop()
	for err == nil {
		select {
		case last = <-w.states:
			if err = show.state(last); g.ended(last) {
				return last, err, false
			}
		case note := <-w.notes:
			err = show.note(note)
		case <-tick.C:
			err = show.tick()
		case err = <-ended:
			return last, err, true
		}
	}
	return last, err, false
}

// updateWatch is the watch of one update. Its goroutine tells states and notes to
// the one that shows them.
type updateWatch struct {
	link   *link
	update *cv1.Update
	states chan *cv1.Update
	notes  chan string
	// seen says that the update was in the snapshot.
	seen bool
}

func newUpdateWatch(l *link, u *cv1.Update) *updateWatch {
	return &updateWatch{link: l, update: u, states: make(chan *cv1.Update), notes: make(chan string)}
}

func (w *updateWatch) run(ctx context.Context, patience follow.Limits) error {
	return follow.Run(ctx, patience, follow.Watch[cv1.WatchUpdatesResponse]{
		Open: func(ctx context.Context, token string) (grpc.ServerStreamingClient[cv1.WatchUpdatesResponse], error) {
			return w.link.updates.WatchUpdates(ctx, &cv1.WatchUpdatesRequest{
				Org: w.link.org, Container: w.update.GetContainer(), Id: w.update.GetId(), ResumeToken: token,
			})
		},
		Token:  (*cv1.WatchUpdatesResponse).GetResumeToken,
		Fresh:  func() { w.seen = false },
		Broken: func(err error) { tell(ctx, w.notes, "connection broken ("+dialCause(rpc.Text(err))+"): trying again") },
		Take:   func(m *cv1.WatchUpdatesResponse) (bool, error) { return w.take(ctx, m) },
	})
}

// take passes on the states of the update.
func (w *updateWatch) take(ctx context.Context, m *cv1.WatchUpdatesResponse) (bool, error) {
	id := w.update.GetId()
	switch {
	case m.GetChanged().GetId() == id && id != "":
		w.seen = true
		tell(ctx, w.states, m.GetChanged())
	case m.GetDeleted().GetName() != "":
		return true, failedf("update %s was deleted with its container", id)
	case m.GetSynced() != nil && !w.seen:
		return true, failedf("update %s is not there any more", id)
	}
	return false, nil
}

// tell hands something over unless ctx ends first.
func tell[T any](ctx context.Context, to chan<- T, what T) {
	select {
	case to <- what:
	case <-ctx.Done():
	}
}
