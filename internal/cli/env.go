package cli

import (
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"
	"google.golang.org/grpc"

	"github.com/casemate-dev/casemate/internal/cli/follow"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/atomicfile"
)

// Env is everything of the process that commands touch.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	// InTerminal, OutTerminal and ErrTerminal say which of them are a terminal.
	InTerminal, OutTerminal, ErrTerminal bool
	// Size returns the terminal's size in characters; 0 means unknown.
	Size func() (width, height int)
	// ReadPassword reads a line from the terminal without echo.
	ReadPassword func() ([]byte, error)
	// Getenv and Open are those of os.
	Getenv func(string) string
	Open   func(string) (io.ReadCloser, error)
	// WriteNew is that of atomicfile.
	WriteNew func(path string, perm fs.FileMode, fill func(io.Writer) error) error
	// Home is the home folder; empty if there is none.
	Home string
	// Now is the clock, Redraw how often a live view is drawn anew.
	Now    func() time.Time
	Redraw time.Duration
	// Dial connects to a coordinator. It doesn't wait for the connection.
	Dial func(address string, opts ...grpc.DialOption) (*grpc.ClientConn, error)
	// NewID makes request ids.
	NewID func() string
	// Patience bounds new attempts of broken watches.
	Patience follow.Limits
	// Version is the program's.
	Version string
}

// System is the process's own environment.
func System(version string) Env {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTerminal:  isTerminal(os.Stdin),
		OutTerminal: isTerminal(os.Stdout),
		ErrTerminal: isTerminal(os.Stderr),
		Size:        size,
		ReadPassword: func() ([]byte, error) {
			return term.ReadPassword(int(os.Stdin.Fd()))
		},
		Getenv:   os.Getenv,
		Open:     func(name string) (io.ReadCloser, error) { return os.Open(name) },
		WriteNew: atomicfile.WriteNew,
		Home:     home, Now: time.Now, Redraw: 200 * time.Millisecond,
		Dial: rpc.Dial, NewID: uuid.NewString,
		Patience: follow.DefaultLimits, Version: version,
	}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

func size() (width, height int) {
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			return w, h
		}
	}
	return 0, 0
}
