package cli

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// glass is a terminal of 100 columns that understands what we send: line ends,
// returns, cursor up, erase line, erase below and colours.
type glass struct {
	rows   [][]rune
	row    int
	col    int
	frames []string
	bad    []string
}

// Write draws one frame.
func (g *glass) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		if strings.HasPrefix(text, "\x1b[") {
			text = g.sequence(text[2:])
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		g.rune(r)
	}
	g.frames = append(g.frames, g.text())
	return len(p), nil
}

func (g *glass) sequence(text string) string {
	i := strings.IndexFunc(text, func(r rune) bool { return r >= '@' && r <= '~' })
	n, _ := strconv.Atoi(text[:i])
	switch text[i] {
	case 'A':
		g.row -= n
		if g.row < 0 {
			g.bad = append(g.bad, "cursor above the screen")
			g.row = 0
		}
	case 'K':
		g.line(g.row)
		g.rows[g.row] = g.rows[g.row][:min(g.col, len(g.rows[g.row]))]
	case 'J':
		g.rows = g.rows[:min(g.row, len(g.rows))]
	case 'm':
	default:
		g.bad = append(g.bad, "sequence "+text[:i+1])
	}
	return text[i+1:]
}

func (g *glass) rune(r rune) {
	switch {
	case r == '\n':
		g.row, g.col = g.row+1, 0
	case r == '\r':
		g.col = 0
	case r < ' ' || r == 0x7f:
		g.bad = append(g.bad, strconv.QuoteRune(r))
	default:
		g.line(g.row)
		for len(g.rows[g.row]) <= g.col {
			g.rows[g.row] = append(g.rows[g.row], ' ')
		}
		g.rows[g.row][g.col] = r
		if g.col++; g.col > 100 {
			g.bad = append(g.bad, "a line wraps")
		}
	}
}

func (g *glass) line(n int) {
	for len(g.rows) <= n {
		g.rows = append(g.rows, nil)
	}
}

func (g *glass) text() string {
	var b strings.Builder
	for _, r := range g.rows {
		b.WriteString(strings.TrimRight(string(r), " ") + "\n")
	}
	return b.String()
}

func onGlass(t *testing.T, f *fleet, args ...string) *glass {
	t.Helper()
	w := newWorld(t, f)
	g := &glass{}
	w.env.Out, w.env.OutTerminal = g, true
	w.run(t, args...)
	if len(g.bad) > 0 {
		t.Errorf("the terminal was sent %q", g.bad)
	}
	return g
}

func TestALiveViewIsRedrawnInPlace(t *testing.T) {
	for name, script := range map[string][]*cv1.Update{
		"good": goodUpdate(), "replace": replaceUpdate(), "failing": failingUpdate(), "held": heldUpdate(),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet()
			f.script = script
			g := onGlass(t, f, "container", "update", "status", "web", "--follow")
			if n := strings.Count(g.text(), "prepare"); n != 1 {
				t.Errorf("step prepare stands there %d times, want once:\n%s", n, g.text())
			}
			golden(t, "live-"+name, strings.Join(g.frames, "----\n"))
		})
	}
}

func TestColoursCanBeTurnedOff(t *testing.T) {
	for name, set := range map[string]func(*world) []string{
		"--no-color":    func(*world) []string { return []string{"--no-color"} },
		"NO_COLOR":      func(w *world) []string { w.vars["NO_COLOR"] = "1"; return nil },
		"TERM=dumb":     func(w *world) []string { w.vars["TERM"] = "dumb"; return nil },
		"no terminal":   func(w *world) []string { w.env.OutTerminal = false; return nil },
		"with a colour": func(*world) []string { return nil },
	} {
		w := newWorld(t, newFleet())
		w.env.OutTerminal = true
		w.run(t, append(set(w), "container", "list")...)
		if coloured := strings.Contains(w.out.String(), "\x1b["); coloured != (name == "with a colour") {
			t.Errorf("%s: colours are %t", name, coloured)
		}
	}
}

// hostile is text that would take over a terminal.
const hostile = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202eevil\r\nweb"

func TestTextOfOthersCantReachTheTerminalAsItIs(t *testing.T) {
	f := newFleet()
	for _, c := range f.containers {
		c.Name, c.Text, c.Reason, c.ActiveTag, c.Insecure = hostile, hostile, hostile, hostile, []string{hostile}
		c.Spec.Variables = map[string]string{hostile: hostile}
	}
	for _, h := range f.hosts {
		h.Name, h.Text = hostile, hostile
	}
	f.plans[0] = proto.CloneOf(f.plans[0])
	f.plans[0].Reason, f.plans[0].Warnings, f.plans[0].Changes[0].OldValue = hostile, []string{hostile}, hostile
	for _, args := range [][]string{
		{"container", "list"}, {"container", "get", hostile}, {"host", "list"}, {"container", "update", "plan", "web"},
		{"container", "list", "-o", "json"}, {"container", "list", "-o", "yaml"},
	} {
		w := newWorld(t, f)
		w.env.OutTerminal = true
		w.run(t, append([]string{"--no-color"}, args...)...)
		if i := strings.IndexFunc(w.out.String(), func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == 0x202e }); i >= 0 || w.out.Len() == 0 {
			t.Errorf("%q: byte %d of %q", args, i, &w.out)
		}
	}
}

func TestLogsAreStrippedOnATerminalAndOnlyThere(t *testing.T) {
	for _, onTerminal := range []bool{true, false} {
		w := newWorld(t, newFleet())
		w.fleet.logs = [][]byte{[]byte("a\x1b[3"), []byte("1mred\x1b[0m\n"), []byte("\x07b\n")}
		w.env.OutTerminal = onTerminal
		if code := w.run(t, "container", "logs", "web", "--enclave", "c7f3a1-r3-4"); code != ExitOK {
			t.Fatalf("exit code %d: %s", code, &w.err)
		}
		want := "a\x1b[31mred\x1b[0m\n\x07b\n"
		if onTerminal {
			want = "ared\nb\n"
		}
		if w.out.String() != want {
			t.Errorf("on a terminal %t: %q, want %q", onTerminal, &w.out, want)
		}
	}
}

func TestFollowingLogsAndEventsEndsWithCtrlC(t *testing.T) {
	for _, args := range [][]string{{"container", "logs", "web", "--follow"}, {"container", "events", "--follow"}, {"container", "events", "web", "-f", "-o", "json"}, {"container", "events", "web", "-f", "-o", "yaml"}} {
		w := newWorld(t, newFleet())
		w.fleet.breaks[1] = errors.New("broken")
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-w.fleet.quiet
			cancel()
		}()
		if code := Run(ctx, args, w.env); code != ExitOK {
			t.Errorf("%v: exit code %d: %s", args, code, &w.err)
		}
		if args[1] == "events" && strings.Count(w.out.String(), "UPDATE_STARTED") != 1 {
			t.Errorf("%v: an event that was sent twice is printed once:\n%s", args, &w.out)
		}
	}
}

func TestAResultThatCantBeWrittenIsAFailure(t *testing.T) {
	for _, args := range [][]string{{"container", "list"}, {"container", "list", "-o", "json"}, {"container", "get", "web", "-o", "yaml"}, {"container", "relaunch", "web", "--yes"}, {"config", "check", "testdata/good.yml"}} {
		w := newWorld(t, newFleet())
		w.env.Out = full{}
		if code := w.run(t, args...); code != ExitFailed || !strings.Contains(w.err.String(), "disk full") {
			t.Errorf("%v: exit code %d: %s", args, code, &w.err)
		}
	}
}

// full is a file on a full disk.
type full struct{}

// Write fails.
func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAnswersAreReadOneByOne(t *testing.T) {
	a := &app{env: Env{In: strings.NewReader("yes\n n \ny"), Err: &bytes.Buffer{}}}
	for i, want := range []bool{true, false, true, false} {
		if err := a.confirm(t.Context(), "?"); (err == nil) != want {
			t.Errorf("answer %d: %v", i, err)
		}
	}
}
