package cli

import (
	"context"
	"errors"
	"fmt"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
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
	var over *codeError
	if errors.As(err, &over) {
		return err // the update is gone: there is nothing to follow
	}
	_, werr := fmt.Fprintf(a.env.Err, "following %s failed; it goes on. Follow it again: casemate container update status %s --follow\n",
		view.Name(u.GetId()), view.Name(u.GetContainer()))
	if werr != nil {
		return fmt.Errorf("write: %w", werr)
	}
	return err
}
