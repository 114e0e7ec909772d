package cli

import (
	"fmt"
	"io"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

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
