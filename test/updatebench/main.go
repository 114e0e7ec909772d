// Command updatebench measures what clients see of updates, on a fleet of real
// processes with fake hosts: failed requests and the longest gap over many
// blue-green updates under load, the gap of a replace less the boot in it, and
// what each daemon costs when nothing happens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "updatebench:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	bin               string
	blueGreen, places int
	idle              time.Duration
}

func run(ctx context.Context, args []string) (retErr error) {
	flags := flag.NewFlagSet("updatebench", flag.ContinueOnError)
	var o options
	flags.StringVar(&o.bin, "bin", "bin", "folder with the daemons' binaries")
	flags.IntVar(&o.blueGreen, "blue-green", 20, "how many blue-green updates")
	flags.IntVar(&o.places, "replace", 5, "how many replaces")
	flags.DurationVar(&o.idle, "idle", 20*time.Second, "how long idle daemons are watched")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "casemate-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return fmt.Errorf("find the binaries: %w", err)
	}
	fleet, err := dev.Start(ctx, dev.Options{
		Dir: dir, Bin: bin, Hosts: []string{"8xH200"}, Limits: []string{"drain: 1s", "stop: 10s"},
	})
	if err != nil {
		return err
	}
	defer func() {
		retErr = errors.Join(retErr, fleet.Stop(context.WithoutCancel(ctx)))
		if retErr == nil {
			retErr = os.RemoveAll(dir)
		}
	}()
	b := &bench{fleet: fleet, api: dev.NewAPI(fleet.Conn()), repos: filepath.Join(dir, "repos")}
	return b.all(ctx, o)
}

type bench struct {
	fleet *dev.Fleet
	api   *dev.API
	repos string
}

func (b *bench) all(ctx context.Context, o options) error {
	key, err := b.fleet.ReleaseKey()
	if err != nil {
		return err
	}
	if err := dev.WriteSamples(b.repos, key); err != nil {
		return err
	}
	if err := b.blueGreen(ctx, o.blueGreen); err != nil {
		return err
	}
	if err := b.idle(ctx, o.idle); err != nil {
		return err
	}
	return b.replace(ctx, o.places)
}

func (b *bench) deploy(ctx context.Context, name string) (*dev.Load, error) {
	u, err := b.api.Deploy(ctx, name, &cv1.ContainerSpec{Repository: filepath.Join(b.repos, name), Tag: "v1.0.0"})
	if err == nil && u.GetStatus() != cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED {
		err = fmt.Errorf("deploy %s: %s", name, u.GetText())
	}
	if err != nil {
		return nil, err
	}
	load := dev.StartLoad(ctx, dev.Target{
		Gateway: b.fleet.GatewayAddr, Domain: name + "." + dev.Org + "." + dev.BaseDomain, Clients: 4, Timeout: 30 * time.Second,
	})
	if err := load.AwaitAnswer(ctx); err != nil {
		return nil, err
	}
	load.Take()
	return load, nil
}

// moveTo updates a container and returns the update and what clients saw of it.
func (b *bench) moveTo(ctx context.Context, load *dev.Load, name, tag string) (*cv1.Update, dev.Stats, error) {
	u, err := b.api.ToTag(ctx, name, tag, nil, dev.Ended)
	if err == nil && u.GetStatus() != cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED {
		err = fmt.Errorf("%s to %s: %s", name, tag, u.GetText())
	}
	if err != nil {
		return nil, dev.Stats{}, err
	}
	if err := load.AwaitAnswer(ctx); err != nil {
		return nil, dev.Stats{}, err
	}
	return u, load.Take(), nil
}

func other(n int) string {
	if n%2 == 0 {
		return "v1.1.0"
	}
	return "v1.3.0"
}

func (b *bench) blueGreen(ctx context.Context, n int) error {
	load, err := b.deploy(ctx, "web")
	if err != nil {
		return err
	}
	defer load.Stop()
	var sum dev.Stats
	for i := range n {
		_, s, err := b.moveTo(ctx, load, "web", other(i))
		if err != nil {
			return err
		}
		sum.Sent, sum.Failed, sum.Gap = sum.Sent+s.Sent, sum.Failed+s.Failed, max(sum.Gap, s.Gap)
		for _, e := range s.Errors {
			fmt.Println("a request failed:", e)
		}
	}
	fmt.Printf("blue-green: %d updates under 4 clients: %d requests, %d failed, longest gap %s\n", n, sum.Sent, sum.Failed, sum.Gap.Round(time.Millisecond))
	if sum.Failed > 0 {
		return fmt.Errorf("%d requests failed in blue-green updates", sum.Failed)
	}
	return nil
}

func (b *bench) replace(ctx context.Context, n int) error {
	load, err := b.deploy(ctx, "model")
	if err != nil {
		return err
	}
	defer load.Stop()
	for i := range n {
		u, s, err := b.moveTo(ctx, load, "model", other(i))
		if err != nil {
			return err
		}
		boot := bootTime(u)
		fmt.Printf("replace: gap %s, of that boot to health %s, the rest %s; %d requests failed\n",
			s.Gap.Round(time.Millisecond), boot.Round(time.Millisecond), (s.Gap - boot).Round(time.Millisecond), s.Failed)
	}
	return nil
}

// bootTime is from entering BOOT to leaving HEALTH.
func bootTime(u *cv1.Update) time.Duration {
	var begin, end time.Time
	for _, h := range u.GetHistory() {
		switch h.GetStep() {
		case cv1.UpdateStep_UPDATE_STEP_BOOT:
			begin = h.GetEnterTime().AsTime()
		case cv1.UpdateStep_UPDATE_STEP_HEALTH:
			end = h.GetLeaveTime().AsTime()
		}
	}
	return end.Sub(begin)
}

// idle watches the daemons while nothing happens.
func (b *bench) idle(ctx context.Context, d time.Duration) error {
	daemons := []*dev.Process{b.fleet.Coordinator, b.fleet.Agents[0], b.fleet.GatewayProc[0]}
	before := make([]usage, len(daemons))
	for i, p := range daemons {
		var err error
		if before[i], err = usageOf(p.PID()); err != nil {
			return err
		}
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return ctx.Err()
	}
	for i, p := range daemons {
		now, err := usageOf(p.PID())
		if err != nil {
			return err
		}
		fmt.Printf("idle: %-12s %5.1f MiB resident, %.2f %% of a core\n", p.Name, float64(now.rss)/(1<<20), 100*(now.cpu-before[i].cpu).Seconds()/d.Seconds())
	}
	return nil
}
