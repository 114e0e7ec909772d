package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/casemate-dev/casemate/internal/cli/terminal"
)

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 4096

// canAsk refuses to guess where nobody can answer. It is called before anything
// is done.
func (a *app) canAsk(yes bool, what string) error {
	if yes || a.env.InTerminal {
		return nil
	}
	return usagef("this asks before it %s, and stdin is no terminal: add --yes to go on without asking", what)
}

// confirm asks a question that is answered with yes or no. No is an error.
func (a *app) confirm(ctx context.Context, question string) error {
	answer, err := a.ask(ctx, question+" [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return failedf("not confirmed: nothing was changed")
}

// confirmName asks for a name to be typed.
func (a *app) confirmName(ctx context.Context, question, name string) error {
	answer, err := a.ask(ctx, question+"\ntype its name ("+terminal.Clean(name)+") to go on: ")
	if err != nil {
		return err
	}
	if answer != name {
		return failedf("%q is not its name: nothing was changed", terminal.Clean(answer))
	}
	return nil
}

// ask reads a line. Reading can't be interrupted, so it is left behind when ctx
// ends: the process ends with it.
func (a *app) ask(ctx context.Context, prompt string) (string, error) {
	if err := write(a.env.Err, prompt); err != nil {
		return "", err
	}
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := a.input().ReadSlice('\n')
		got <- answer{string(line), err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case l := <-got:
		if l.err != nil && !(errors.Is(l.err, io.EOF) && l.text != "") {
			return "", failedf("no answer: nothing was changed")
		}
		return strings.TrimSpace(l.text), nil
	}
}

// input is stdin, read by the line: several questions share it.
func (a *app) input() *bufio.Reader {
	if a.lines == nil {
		a.lines = bufio.NewReaderSize(a.env.In, maxAnswer)
	}
	return a.lines
}

// planChanged words that the ground has moved under a plan.
func (a *app) planChanged() error {
	_, err := fmt.Fprintln(a.env.Err, "the plan has changed meanwhile; it is now:")
	return err
}
