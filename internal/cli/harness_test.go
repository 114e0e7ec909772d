package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/casemate-dev/casemate/internal/cli/follow"
	"github.com/casemate-dev/casemate/internal/rpc"
)

var update = flag.Bool("update", false, "rewrite golden files and docs/cli.md")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what tests wait for; nothing takes nearly as long.
const patience = 2 * time.Minute

// world is where one command runs.
type world struct {
	fleet *fleet
	env   Env
	out   bytes.Buffer
	err   bytes.Buffer
	// seen is what a person sees of both, in order.
	seen strings.Builder
	vars map[string]string
	// written are the new files, by path.
	written map[string]string
	dial    []string
}

// newWorld serves the fleet in memory, through the chain of the real server, so
// that every request is held against the rules in the protos.
func newWorld(t *testing.T, f *fleet) *world {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	srv, err := rpc.NewServer(rpc.Config{Log: slog.New(slog.DiscardHandler), Register: f.register, Local: []net.Listener{lis}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	w := &world{fleet: f, vars: map[string]string{}, written: map[string]string{}}
	ids := 0
	w.env = Env{
		In: strings.NewReader(""), Out: io.MultiWriter(&w.out, &seer{to: &w.seen}), Err: io.MultiWriter(&w.err, &seer{to: &w.seen, mark: stderrMark}),
		Size:         func() (int, int) { return 100, 60 },
		ReadPassword: func() ([]byte, error) { return nil, io.EOF },
		Getenv:       func(k string) string { return w.vars[k] },
		Open:         func(name string) (io.ReadCloser, error) { return os.Open(name) },
		WriteNew:     w.writeNew,
		Now:          func() time.Time { return now }, Redraw: time.Hour,
		NewID:    func() string { ids++; return fmt.Sprintf("request-%d", ids) },
		Patience: follow.Limits{First: time.Millisecond, Longest: time.Millisecond, GiveUp: patience},
		Version:  "v0.0.0-test",
		Dial: func(address string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
			w.dial = append(w.dial, address)
			opts = append(opts, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
			return rpc.Dial("passthrough:///fleet", opts...)
		},
	}
	return w
}

// writeNew keeps what would be a new file.
func (w *world) writeNew(path string, _ fs.FileMode, fill func(io.Writer) error) error {
	if _, taken := w.written[path]; taken {
		return fs.ErrExist
	}
	var b strings.Builder
	if err := fill(&b); err != nil {
		return err
	}
	w.written[path] = b.String()
	return nil
}

// answers makes stdin a terminal at which somebody types.
func (w *world) answers(lines string) {
	w.env.In, w.env.InTerminal = strings.NewReader(lines), true
}

func (w *world) run(t *testing.T, args ...string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	code := Run(ctx, args, w.env)
	if ctx.Err() != nil {
		t.Fatalf("casemate %s did not end\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), &w.out, &w.err)
	}
	return code
}

// transcript is what a person sees of a command.
func (w *world) transcript(args []string, code int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ casemate %s\n%s", strings.Join(args, " "), w.seen.String())
	if !strings.HasSuffix(b.String(), "\n") {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "--- exit code %d\n", code)
	return b.String()
}

// stderrMark begins the lines of a transcript that went to stderr.
const stderrMark = "2> "

// seer writes down what goes to one of two streams. A question is followed by
// its answer, so what comes next begins a new line.
type seer struct {
	to   *strings.Builder
	mark string
}

// Write writes down the lines of p.
func (s *seer) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if text := s.to.String(); text != "" && !strings.HasSuffix(text, "\n") {
			s.to.WriteString("\n")
		}
		s.to.WriteString(s.mark + line)
	}
	return len(p), nil
}

// golden compares text with a file under testdata, or rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("no golden file: run go test with -update: %v", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// oneFile is a file system with one file; empty text means that it isn't there.
func oneFile(path, text string) func(string) (io.ReadCloser, error) {
	return func(name string) (io.ReadCloser, error) {
		if name != path || text == "" {
			return nil, fs.ErrNotExist
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
}
