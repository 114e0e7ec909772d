// Package daemon is the command line that every daemon has: a config file, a
// check of it, a log level, signals, and the word to systemd.
package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/casemate-dev/casemate/internal/yamlconfig"
)

// Command describes a daemon.
type Command[T any] struct {
	// Name is the command's name, such as coordinator.
	Name string
	// EnvPrefix begins the environment variables that override the file.
	EnvPrefix string
	// ConfigPath is where the file lies unless --config says otherwise.
	ConfigPath string
	// Run runs the daemon until ctx ends and calls ready once it serves.
	Run func(ctx context.Context, cfg T, log *slog.Logger, ready func()) error
}

// Main runs the daemon and returns the exit code: 0, or 1 for anything wrong.
func (c Command[T]) Main(args []string, stdout, stderr io.Writer) int {
	if err := c.main(args, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "casemate-%s: %v\n", c.Name, err)
		return 1
	}
	return 0
}

func (c Command[T]) main(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("casemate-"+c.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", c.ConfigPath, "the configuration file")
	level := flags.String("log-level", "info", "debug, info, warn or error")
	check := flags.Bool("check", false, "say what is wrong with the configuration, and exit")
	version := flags.Bool("version", false, "print the version, and exit")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if len(flags.Args()) > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *version {
		fmt.Fprintln(stdout, Version())
		return nil
	}
	var threshold slog.Level
	if err := threshold.UnmarshalText([]byte(*level)); err != nil {
		return fmt.Errorf("--log-level: %q is not debug, info, warn or error", *level)
	}
	cfg, err := yamlconfig.Load[T](*path, c.EnvPrefix)
	if err != nil {
		return err
	}
	if *check {
		fmt.Fprintf(stdout, "%s: ok\n", *path)
		return nil
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: threshold}))
	return c.serve(cfg, log)
}

// serve runs until SIGTERM or SIGINT; a second one ends the process at once.
func (c Command[T]) serve(cfg T, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, func() {
		stop()
		notify(log, daemon.SdNotifyStopping)
	})
	err := c.Run(ctx, cfg, log, func() { notify(log, daemon.SdNotifyReady) })
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("tell systemd", "state", state, "error", err)
	}
}

// Version returns the version the binary was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " (" + s.Value[:min(len(s.Value), 12)] + ")"
		}
	}
	return v
}
