package oneshot

import (
	"strings"
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
