package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

type config struct {
	Name string `yaml:"name"`
}

func command(run func(ctx context.Context, c config, ready func()) error) Command[config] {
	return Command[config]{
		Name: "test", EnvPrefix: "CASEMATE_TEST",
		Run: func(ctx context.Context, c config, _ *slog.Logger, ready func()) error { return run(ctx, c, ready) },
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMainSaysWhatIsWrong(t *testing.T) {
	never := func(context.Context, config, func()) error { return errors.New("must not run") }
	for _, tc := range []struct {
		rule string
		args []string
		code int
		says string
	}{
		{"a good file is ok", []string{"--check", "--config", file(t, "name: a\n")}, 0, "ok"},
		{"an unknown key is named with its line", []string{"--check", "--config", file(t, "name: a\nnope: 1\n")}, 1, ":2"},
		{"a missing file is named", []string{"--config", "/nowhere.yaml"}, 1, "/nowhere.yaml"},
		{"an unknown level is refused", []string{"--log-level", "loud"}, 1, "not debug"},
		{"an argument too many is refused", []string{"extra"}, 1, `"extra"`},
		{"an unknown flag is refused", []string{"--nope"}, 1, "nope"},
		{"the version is printed", []string{"--version"}, 0, ""},
		{"help is no error", []string{"--help"}, 0, "config"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := command(never).Main(tc.args, &out, &errs); code != tc.code {
				t.Errorf("exit %d, want %d: %s", code, tc.code, errs.String())
			}
			if all := out.String() + errs.String(); !strings.Contains(all, tc.says) {
				t.Errorf("said %q, want it to say %q", all, tc.says)
			}
		})
	}
}

func TestItRunsUntilTheSignalAndExitsCleanly(t *testing.T) {
	var out, errs bytes.Buffer
	got := ""
	c := command(func(ctx context.Context, c config, ready func()) error {
		got = c.Name
		ready()
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if code := c.Main([]string{"--config", file(t, "name: b\n")}, &out, &errs); code != 0 {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	if got != "b" {
		t.Errorf("ran with name %q, want b", got)
	}
}

func TestAFailureIsToldAndExitsWith1(t *testing.T) {
	var out, errs bytes.Buffer
	c := command(func(context.Context, config, func()) error { return errors.New("store is damaged") })
	if code := c.Main([]string{"--config", file(t, "name: b\n")}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "store is damaged") {
		t.Errorf("exit %d, %q", code, errs.String())
	}
}
