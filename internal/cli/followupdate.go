package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/follow"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
	"github.com/casemate-dev/casemate/internal/cli/view"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// goal is what counts as success beside the update's own.
type goal struct {
	// cancelled: the update was to be cancelled.
	cancelled bool
	// accepted: a candidate that waits has been accepted and will go on.
	accepted bool
	// shown is the state that is on the screen already; may be nil.
	shown *cv1.Update
}

// ended says whether there is no more to follow.
func (g goal) ended(u *cv1.Update) bool {
	return view.Ended(u.GetStatus()) || !g.accepted && !g.cancelled && view.Waits(u)
}

// followUpdate shows an update until it ends or waits for a person, prints it,
// and returns an error unless it went as it should.
func (a *app) followUpdate(ctx context.Context, u *cv1.Update, g goal) error {
	last, err := a.watchUpdate(ctx, u, g)
	if ctx.Err() != nil {
		return a.leftAlone(last)
	}
	if err != nil {
		return a.lost(last, err)
	}
	if err := a.result(last, func(v view.View) string { return v.End(last) + "\n" + hint(v, last) }); err != nil {
		return err
	}
	return outcome(last, g)
}

func hint(v view.View, u *cv1.Update) string {
	if view.Waits(u) {
		return v.AcceptHint(u) + "\n"
	}
	return ""
}

// outcome is an error unless the update went as it should.
func outcome(u *cv1.Update, g goal) error {
	switch u.GetStatus() {
	case cv1.UpdateStatus_UPDATE_STATUS_FAILED:
		return ended(u)
	case cv1.UpdateStatus_UPDATE_STATUS_CANCELLED:
		if !g.cancelled {
			return ended(u)
		}
	case cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED:
		if g.cancelled {
			return failedf("%s was not cancelled: it had switched already", u.GetId())
		}
	}
	return nil
}

// ended is the error of an update that ended badly.
func ended(u *cv1.Update) error {
	reason := u.GetReason()
	text := u.GetText()
	if text == "" {
		text = "no more is known"
	}
	if reason != "" {
		text += " [" + reason + "]"
	}
	how, next := "failed", "casemate container update status "+u.GetContainer()
	if u.GetStatus() == cv1.UpdateStatus_UPDATE_STATUS_CANCELLED {
		how = "was cancelled"
	} else if u.GetCandidate() != "" {
		next += ", casemate container logs " + u.GetContainer() + " --enclave " + u.GetCandidate()
	}
	return failedf("update %s %s: %s\n  next: %s", u.GetId(), how, text, next)
}

// leftAlone says that the update goes on without us.
func (a *app) leftAlone(u *cv1.Update) error {
	_, err := fmt.Fprintf(a.env.Err, "\nstopped following; %s goes on. Follow it again: casemate container update status %s --follow\nCancel it: casemate container update cancel %s\n",
		view.Name(u.GetId()), view.Name(u.GetContainer()), view.Name(u.GetContainer()))
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return told(ExitInterrupted, "interrupted")
}

// lost says what is known when following failed.
func (a *app) lost(u *cv1.Update, err error) error {
	_, werr := fmt.Fprintf(a.env.Err, "following %s failed; it goes on. Follow it again: casemate container update status %s --follow\n",
		view.Name(u.GetId()), view.Name(u.GetContainer()))
	if werr != nil {
		return fmt.Errorf("write: %w", werr)
	}
	return err
}

// watchUpdate shows an update until g has ended, and returns its last state.
func (a *app) watchUpdate(ctx context.Context, u *cv1.Update, g goal) (*cv1.Update, error) {
	l, err := a.connect()
	if err != nil {
		return u, err
	}
	show, stop := a.shower(g.shown)
	last := u
	seen := false
	states := make(chan *cv1.Update)
	notes := make(chan string)
	end := make(chan error, 1)
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		end <- follow.Run(watching, a.env.Patience, follow.Watch[cv1.WatchUpdatesResponse]{
			Open: func(ctx context.Context, token string) (grpc.ServerStreamingClient[cv1.WatchUpdatesResponse], error) {
				return l.updates.WatchUpdates(ctx, &cv1.WatchUpdatesRequest{Org: l.org, Container: u.GetContainer(), Id: u.GetId(), ResumeToken: token})
			},
			Token: (*cv1.WatchUpdatesResponse).GetResumeToken,
			Fresh: func() { seen = false },
			Broken: func(err error) {
				select {
				case notes <- "connection broken (" + rpc.Text(err) + "): trying again":
				case <-watching.Done():
				}
			},
			Take: func(m *cv1.WatchUpdatesResponse) (bool, error) {
				return takeUpdate(watching, u.GetId(), m, &seen, states)
			},
		})
	}()
	tick := time.NewTicker(a.env.Redraw)
	defer tick.Stop()
	defer stop()
	if err := show.state(u); err != nil {
		return last, err
	}
	for {
		select {
		case s := <-states:
			last = s
			if err := show.state(s); err != nil || g.ended(s) {
				cancel()
				<-end
				return last, err
			}
		case note := <-notes:
			if err := show.note(note); err != nil {
				cancel()
				<-end
				return last, err
			}
		case <-tick.C:
			_ = show.tick()
		case err := <-end:
			return last, err
		}
	}
}

// takeUpdate passes on the states of one update.
func takeUpdate(ctx context.Context, id string, m *cv1.WatchUpdatesResponse, seen *bool, states chan<- *cv1.Update) (bool, error) {
	switch {
	case m.GetChanged().GetId() == id && id != "":
		*seen = true
		select {
		case states <- m.GetChanged():
		case <-ctx.Done():
			return true, nil
		}
	case m.GetDeleted().GetName() != "":
		return true, failedf("update %s was deleted with its container", id)
	case m.GetSynced() != nil && !*seen:
		return true, failedf("update %s is not there any more", id)
	}
	return false, nil
}

// shower shows the states of an update.
type shower interface {
	// state shows a new state, tick the time that has passed.
	state(*cv1.Update) error
	tick() error
	// note tells something about the connection.
	note(string) error
}

// shower returns a redrawn view for a terminal and plain lines for anything
// else, and what ends it.
func (a *app) shower(shown *cv1.Update) (shower, func()) {
	w, isTerminal := a.progress()
	if isTerminal && a.env.Getenv("TERM") != "dumb" {
		p := &picture{app: a, screen: terminal.NewScreen(w, a.env.Size)}
		return p, p.screen.Leave
	}
	return &lines{app: a, out: w, last: shown}, func() {}
}

// picture redraws.
type picture struct {
	app    *app
	screen *terminal.Screen
	last   *cv1.Update
	extra  string
}

func (p *picture) state(u *cv1.Update) error {
	p.last, p.extra = u, ""
	return p.tick()
}

func (p *picture) tick() error {
	v := p.app.view(true)
	text := v.Picture(p.last)
	if p.extra != "" {
		text = append(text, v.Style.Warn(p.extra))
	}
	return p.screen.Draw(text)
}

func (p *picture) note(text string) error {
	p.extra = view.Name(text)
	return p.tick()
}

// lines prints what is new.
type lines struct {
	app  *app
	out  io.Writer
	last *cv1.Update
}

func (l *lines) state(u *cv1.Update) error {
	for _, text := range l.app.view(false).News(l.last, u) {
		if err := write(l.out, text+"\n"); err != nil {
			return err
		}
	}
	l.last = u
	return nil
}

func (l *lines) tick() error { return nil }

func (l *lines) note(text string) error {
	_, err := fmt.Fprintln(l.app.env.Err, view.Name(text))
	return err
}
