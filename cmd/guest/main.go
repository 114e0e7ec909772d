// Command guest is the inside of an enclave.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/internal/guest/gpus"
	"github.com/casemate-dev/casemate/internal/guest/simulated"
	"github.com/casemate-dev/casemate/internal/guest/tsm"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/gpu/nscq"
	"github.com/casemate-dev/casemate/pkg/gpu/nvml"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("guest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		sim   = flags.Bool("simulated", false, "run as a process on this machine, with evidence that proves nothing")
		dir   = flags.String("dir", "", "the enclave's folder, as the fake backend wrote it (with --simulated)")
		nonce = flags.String("evidence", "", "print the evidence of this machine's processor and GPUs over a nonce (64 hex digits), and end: to try hardware")
		cards = flags.Bool("gpus", true, "ask the GPUs, too, through NVML, and in protected PCIe mode their NVSwitches through NSCQ (with --evidence)")
		grace = flags.Duration("grace", guest.DefaultGrace, "how long requests in flight may take after SIGTERM")
	)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *nonce != "" {
		return show(ctx, stdout, *nonce, *cards)
	}
	return boot(ctx, *sim, *dir, *grace, flags.Args())
}

func boot(ctx context.Context, sim bool, dir string, grace time.Duration, rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case !sim:
		return errors.New("this build runs with --simulated only: give --simulated --dir DIR")
	case dir == "":
		return errors.New("give the enclave's folder with --dir")
	}
	pressed, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return simulated.Run(ctx, simulated.Options{Dir: dir, PowerOff: pressed.Done(), OwnProcess: true, Grace: grace})
}

// show prints a document over the nonce that binds no TLS key, no config and no
// platform part: it shows that processor and GPUs answer, and what.
func show(ctx context.Context, stdout io.Writer, text string, cards bool) error {
	nonce, err := evidence.ParseNonce(text)
	if err != nil {
		return err
	}
	config := tsm.Config{}
	if cards {
		source, err := gpus.New(gpus.Config{NVML: nvml.New(), NSCQ: nscq.New(nscq.Name)})
		if err != nil {
			return err
		}
		config.Devices = source.Devices
	}
	hardware, err := tsm.New(config)
	if err != nil {
		return err
	}
	document, err := guest.Evidence(ctx, hardware, evidence.Document{Nonce: nonce})
	if err != nil {
		return err
	}
	_, err = stdout.Write(append(document, '\n'))
	return err
}
