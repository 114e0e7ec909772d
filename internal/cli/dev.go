package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/pkg/gpu/fake"
)

// devFlags are those of the dev commands.
type devFlags struct {
	dir, bin string
	hosts    []string
	gateways int
	tee      string
	keep     bool
}

func newDev(a *app) *cobra.Command {
	var f devFlags
	up := &cobra.Command{
		Use: "up", Short: "Run a fleet of fake hosts until Ctrl-C", Args: cobra.NoArgs,
		Example: "  casemate dev up --host 8xH200 --host 1xH100",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.devUp(cmd.Context(), f)
		},
	}
	demo := &cobra.Command{
		Use: "demo", Short: "Deploy and update sample containers under client load, and measure", Args: cobra.NoArgs,
		Example: "  casemate dev demo --keep",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.devDemo(cmd.Context(), f)
		},
	}
	for _, c := range []*cobra.Command{up, demo} {
		c.Flags().StringVar(&f.dir, "dir", "", "`FOLDER` for state, logs and sockets (default a new one below the temporary folder, removed at the end)")
		c.Flags().StringVar(&f.bin, "bin", "", "`FOLDER` with the daemons' binaries (default this program's)")
		c.Flags().StringArrayVar(&f.hosts, "host", []string{"8xH200", "8xH200"}, "a fake host by its `PRESET`: "+strings.Join(fake.Presets(), ", ")+"; repeat for more")
		c.Flags().IntVar(&f.gateways, "gateways", 1, "run `N` gateways")
		c.Flags().StringVar(&f.tee, "tee", dev.SEVSNP, "`WHAT` the enclaves show, signed by simulated vendors: sev-snp, tdx, or none, a mark that nobody signs")
		mustComplete(c, "host", cobra.FixedCompletions(fake.Presets(), cobra.ShellCompDirectiveNoFileComp))
		mustComplete(c, "tee", cobra.FixedCompletions([]cobra.Completion{dev.SEVSNP, dev.TDX, dev.NoTEE}, cobra.ShellCompDirectiveNoFileComp))
	}
	demo.Flags().BoolVar(&f.keep, "keep", false, "leave the fleet running afterwards, until Ctrl-C")
	return group("dev", "Run a whole fleet on this machine, with fake GPUs and simulated enclaves", nil, up, demo)
}

// devStart starts a fleet; the returned function stops it and removes what need
// not be kept.
func (a *app) devStart(ctx context.Context, f devFlags) (*dev.Fleet, func() error, error) {
	switch f.tee {
	case dev.SEVSNP, dev.TDX, dev.NoTEE:
	default:
		return nil, nil, usagef("--tee is %s, %s or %s, not %.40q", dev.SEVSNP, dev.TDX, dev.NoTEE, f.tee)
	}
	if f.gateways < 1 {
		return nil, nil, usagef("--gateways is at least 1")
	}
	if f.bin == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, nil, fmt.Errorf("find the daemons beside this program: %w: give --bin", err)
		}
		f.bin = filepath.Dir(self)
	}
	o := dev.Options{Bin: f.bin, Hosts: f.hosts, Gateways: f.gateways, TEE: f.tee, Limits: []string{"drain: 3s", "stop: 10s"}}
	temporary := f.dir == ""
	if !temporary {
		var err error
		if o.Dir, err = filepath.Abs(f.dir); err != nil {
			return nil, nil, fmt.Errorf("--dir: %w", err)
		}
	}
	if err := o.Check(); err != nil {
		return nil, nil, err
	}
	if temporary {
		var err error
		if o.Dir, err = os.MkdirTemp("", "casemate-"); err != nil {
			return nil, nil, fmt.Errorf("make a temporary folder: %w", err)
		}
	}
	fleet, err := dev.Start(ctx, o)
	if err != nil {
		return nil, nil, fmt.Errorf("%w\nthe logs are in %s", err, o.Dir)
	}
	stop := func() error {
		err := fleet.Stop(context.WithoutCancel(ctx))
		if temporary && err == nil {
			err = os.RemoveAll(o.Dir)
		}
		return err
	}
	return fleet, stop, nil
}

func (a *app) devUp(ctx context.Context, f devFlags) (retErr error) {
	fleet, stop, err := a.devStart(ctx, f)
	if err != nil {
		return err
	}
	defer func() { retErr = errors.Join(retErr, stop()) }()
	key, err := fleet.ReleaseKey()
	if err != nil {
		return err
	}
	if err := dev.WriteSamples(filepath.Join(fleet.Dir, "repos"), key); err != nil {
		return err
	}
	a.devHints(fleet)
	<-ctx.Done()
	return nil
}

func (a *app) devDemo(ctx context.Context, f devFlags) (retErr error) {
	fleet, stop, err := a.devStart(ctx, f)
	if err != nil {
		return err
	}
	keep := false
	defer func() {
		if retErr != nil {
			// The logs are wanted now: stop the processes, and leave the folder.
			retErr = errors.Join(retErr, fleet.Stop(context.WithoutCancel(ctx)))
			return
		}
		if keep {
			<-ctx.Done()
		}
		retErr = stop()
	}()
	if err := dev.RunDemo(ctx, fleet, a.env.Out); err != nil {
		return err
	}
	if f.keep {
		keep = true
		a.devHints(fleet)
	}
	return nil
}

// devHints prints what to try.
func (a *app) devHints(f *dev.Fleet) {
	_, port, _ := strings.Cut(f.GatewayAddr, ":")
	fmt.Fprintf(a.env.Out, `
The fleet runs until Ctrl-C. Its logs and state are in %s. Try, in another terminal:

  export CASEMATE_COORDINATOR=%s PATH="%s:$PATH"
  casemate host list
  casemate container create shop --repo %s --tag v1.0.0
  casemate container relaunch shop --tag v1.1.0
  curl -k --connect-to ::127.0.0.1:%s https://shop.%s.%s/

and with grpcurl (go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest):

  grpcurl -plaintext -unix %s list
  grpcurl -plaintext -d '{"org":"default"}' %s casemate.coordinator.v1.ContainerService/ListContainers
  grpcurl -plaintext -unix %s casemate.agent.v1.HostService/GetHost
`, f.Dir, f.Socket(), f.Bin, filepath.Join(f.Dir, "repos", "web"), port, dev.Org, dev.BaseDomain,
		strings.TrimPrefix(f.Socket(), "unix://"), f.TCP, strings.TrimPrefix(f.AgentSocket(0), "unix://"))
}
