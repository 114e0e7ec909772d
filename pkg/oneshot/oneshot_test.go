package oneshot

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sh(script string) Command {
	return Command{Path: "/bin/sh", Args: []string{"-c", script}, Timeout: time.Minute, MaxOut: 16}
}

func TestTheAnswerIsWhatTheProgramWrites(t *testing.T) {
	c := sh(`read -r line; echo "$line $WHO"`)
	c.Stdin, c.Env = []byte("hello\n"), []string{"WHO=you"}
	got, err := Ask(t.Context(), c)
	if err != nil || string(got) != "hello you\n" {
		t.Errorf("%q, %v", got, err)
	}
	t.Setenv("WHO", "all")
	c.Env = nil
	if got, err := Ask(t.Context(), c); err != nil || string(got) != "hello all\n" {
		t.Errorf("with the process's own environment: %q, %v", got, err)
	}
	c.Env = []string{}
	if got, err := Ask(t.Context(), c); err != nil || string(got) != "hello \n" {
		t.Errorf("without an environment: %q, %v", got, err)
	}
	unread := sh("echo yes")
	unread.Stdin = make([]byte, 1<<20)
	if got, err := Ask(t.Context(), unread); err != nil || string(got) != "yes\n" {
		t.Errorf("a program that doesn't read: %q, %v", got, err)
	}
}

func TestAProgramThatFailsOrSaysTooMuchGivesNoAnswer(t *testing.T) {
	slow := sh("while :; do :; done")
	slow.Timeout = 50 * time.Millisecond
	for rule, c := range map[string]struct {
		command Command
		says    string
	}{
		"a failure":          {sh("echo why >&2; echo yes; exit 3"), "exit status 3: why"},
		"too much":           {sh("echo 0123456789abcdef"), "more than 16 bytes"},
		"too much, endless":  {sh("i=0; while [ $i -lt 20000 ]; do echo 0123456789abcdef; i=$((i+1)); done"), "more than 16 bytes"},
		"too slow":           {slow, "in time"},
		"a missing program":  {Command{Path: "/nowhere/program", Timeout: time.Minute}, "no such file"},
		"an endless failure": {sh("i=0; while [ $i -lt 20000 ]; do echo 0123456789abcdef >&2; i=$((i+1)); done; exit 1"), "exit status 1"},
	} {
		got, err := Ask(t.Context(), c.command)
		if err == nil || got != nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 2*maxSaid {
			t.Errorf("%s: %.100q, %.300v; want no answer, and %q", rule, got, err, c.says)
		}
	}
}

// A child holds a named pipe open for as long as it lives, so that its end is the
// pipe's.
func TestWhatTheProgramStartedEndsWithIt(t *testing.T) {
	const child = "sleep 100000 >/dev/null 2>&1 &"
	for rule, c := range map[string]struct {
		script string
		cancel bool
	}{
		"after its answer":           {child + " echo yes", false},
		"after a failure":            {child + " exit 3", false},
		"when it is cancelled":       {child + " wait", true},
		"when it is cancelled, deaf": {child + " trap '' TERM INT HUP; wait", true},
	} {
		path := filepath.Join(t.TempDir(), "alive")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		asked := make(chan error, 1)
		command := sh(`exec 3>"$ALIVE"; echo started >&3; ` + c.script)
		command.Env = append(os.Environ(), "ALIVE="+path)
		go func() {
			_, err := Ask(ctx, command)
			if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
				_ = f.Close() // who waits for a program that never ran goes on
			}
			asked <- err
		}()
		alive, err := os.Open(path) // waits for the program
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(alive, make([]byte, len("started\n"))); err != nil {
			t.Fatal(err)
		}
		if c.cancel {
			cancel()
		}
		if err := <-asked; errors.Is(err, context.Canceled) != c.cancel {
			t.Errorf("%s: %v", rule, err)
		}
		if _, err := io.ReadAll(alive); err != nil { // ends with the last of them
			t.Errorf("%s: %v", rule, err)
		}
		_ = alive.Close() // only read from
	}
}
