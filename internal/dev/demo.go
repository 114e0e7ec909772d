package dev

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// Demo is one run of the main job on a fleet.
type Demo struct {
	fleet *Fleet
	api   *API
	out   io.Writer
	begun time.Time
	loads map[string]*Load
	// lost counts requests that failed in blue-green updates.
	lost int
	rows []row
}

// row is one line of the closing table.
type row struct {
	what, strategy, result string
	took                   time.Duration
	stats                  Stats
}

// Samples of the demo. In each repository v1.2.0 is broken.
func samples() map[string]Sample {
	return map[string]Sample{
		"web":   {CPUs: 2, MemoryMiB: 8192, Boot: 200 * time.Millisecond, Load: 100 * time.Millisecond},
		"chat":  {GPUs: 1, CPUs: 16, MemoryMiB: 65536, Boot: 400 * time.Millisecond, Load: 300 * time.Millisecond},
		"model": {GPUs: 8, CPUs: 32, MemoryMiB: 524288, Boot: 600 * time.Millisecond, Load: 900 * time.Millisecond},
	}
}

// tags are the releases of every sample repository.
var tags = []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"}

const brokenTag = "v1.2.0"

// WriteSamples makes the sample repositories below dir, by name, with releases that
// are signed with key. One that is there already is left as it is.
func WriteSamples(dir string, key crypto.Signer) error {
	for name, s := range samples() {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			continue
		}
		var releases []Release
		for _, tag := range tags {
			s := s
			s.Version = tag
			if tag == brokenTag {
				s.Fault = "never-healthy"
			}
			releases = append(releases, Release{Tag: tag, Config: s.Config()})
		}
		if err := WriteRepository(filepath.Join(dir, name), releases, key); err != nil {
			return err
		}
	}
	return nil
}

// RunDemo drives a fleet through the main job under constant load and writes a
// timeline. It fails unless blue-green updates lost nothing.
func RunDemo(ctx context.Context, fleet *Fleet, out io.Writer) error {
	d := &Demo{fleet: fleet, api: NewAPI(fleet.Conn()), out: out, begun: time.Now(), loads: map[string]*Load{}}
	defer d.stopLoads()
	repos := filepath.Join(fleet.Dir, "repos")
	key, err := fleet.ReleaseKey()
	if err != nil {
		return err
	}
	if err := WriteSamples(repos, key); err != nil {
		return err
	}
	d.say("fleet is up: coordinator, %d agents (8 x H200 each), %d gateway at %s", len(fleet.Agents), len(fleet.GatewayProc), fleet.GatewayAddr)
	for _, step := range []func(context.Context) error{
		d.deployAll, d.blueGreen, d.held, d.cancelled, d.broken, d.rollback, d.beside, d.replace, d.remove,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return d.close()
}

func (d *Demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%7.2fs  %s\n", time.Since(d.begun).Seconds(), fmt.Sprintf(format, args...))
}

func (d *Demo) stopLoads() {
	for _, l := range d.loads {
		l.Stop()
	}
}

func domain(name string) string { return name + "." + Org + "." + BaseDomain }

// deployAll deploys the samples and puts them under load.
func (d *Demo) deployAll(ctx context.Context) error {
	for _, name := range []string{"web", "chat", "model"} {
		u, err := d.api.Deploy(ctx, name, &cv1.ContainerSpec{
			Repository: filepath.Join(d.fleet.Dir, "repos", name), Tag: tags[0],
			Variables: map[string]string{"LOG_LEVEL": "info"},
		})
		if err := wantEnd(u, err, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED); err != nil {
			return err
		}
		s := samples()[name]
		d.say("deployed %-5s %s on %s (GPUs: %d) in %s", name, tags[0], u.GetHost(), s.GPUs, round(Took(u)))
		d.loads[name] = StartLoad(ctx, Target{Gateway: d.fleet.GatewayAddr, Domain: domain(name), Clients: 4, Timeout: 30 * time.Second})
	}
	d.say("12 clients ask all three without a pause from here on")
	return nil
}

// during runs an update and notes what the container's clients saw of it.
func (d *Demo) during(ctx context.Context, what, name string, blueGreen bool, f func() (*cv1.Update, error), want cv1.UpdateStatus) error {
	d.loads[name].Take()
	u, err := f()
	if err := wantEnd(u, err, want); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := d.loads[name].AwaitAnswer(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	stats := d.loads[name].Take()
	strategy := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(u.GetStrategy().String(), "STRATEGY_"), "_", "-"))
	result := strings.TrimPrefix(u.GetStatus().String(), "UPDATE_STATUS_")
	if blueGreen && u.GetStrategy() != cv1.Strategy_STRATEGY_BLUE_GREEN || !blueGreen && u.GetStrategy() != cv1.Strategy_STRATEGY_REPLACE {
		return fmt.Errorf("%s: the strategy was %s: %s", what, strategy, u.GetPlan().GetReason())
	}
	d.rows = append(d.rows, row{what: what, strategy: strategy, result: result, took: Took(u), stats: stats})
	if blueGreen {
		d.lost += stats.Failed
	}
	d.say("%-44s %-10s %-9s %6s  sent %5d  failed %d  longest gap %s", what, strategy, result, round(Took(u)), stats.Sent, stats.Failed, round(stats.Gap))
	for _, e := range stats.Errors {
		d.say("    a request failed: %s", e)
	}
	return nil
}

func wantEnd(u *cv1.Update, err error, want cv1.UpdateStatus) error {
	if err != nil {
		return err
	}
	if u.GetStatus() != want {
		return fmt.Errorf("update %s ended as %s, want %s: %s", u.GetId(), u.GetStatus(), want, u.GetText())
	}
	return nil
}

func (d *Demo) blueGreen(ctx context.Context) error {
	return d.during(ctx, "web to v1.1.0", "web", true, func() (*cv1.Update, error) {
		return d.api.ToTag(ctx, "web", "v1.1.0", nil, Ended)
	}, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED)
}

func (d *Demo) held(ctx context.Context) error {
	return d.during(ctx, "chat to v1.1.0, held, then accepted", "chat", true, func() (*cv1.Update, error) {
		u, err := d.api.ToTag(ctx, "chat", "v1.1.0", &cv1.UpdateOptions{Hold: true}, Held)
		if err != nil {
			return nil, err
		}
		d.say("chat's candidate %s is READY and held; the old version serves", u.GetCandidate())
		r, err := d.api.Updates.AcceptUpdate(ctx, &cv1.AcceptUpdateRequest{Org: Org, Container: "chat", Id: u.GetId(), Etag: u.GetEtag()})
		if err != nil {
			return nil, err
		}
		return d.api.Await(ctx, r.GetUpdate(), Ended)
	}, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED)
}

func (d *Demo) cancelled(ctx context.Context) error {
	return d.during(ctx, "web to v1.3.0, cancelled on the way", "web", true, func() (*cv1.Update, error) {
		u, err := d.api.ToTag(ctx, "web", "v1.3.0", &cv1.UpdateOptions{Hold: true}, Started)
		if err != nil {
			return nil, err
		}
		r, err := d.api.Updates.CancelUpdate(ctx, &cv1.CancelUpdateRequest{Org: Org, Container: "web", Id: u.GetId()})
		if err != nil {
			return nil, err
		}
		return d.api.Await(ctx, r.GetUpdate(), Ended)
	}, cv1.UpdateStatus_UPDATE_STATUS_CANCELLED)
}

func (d *Demo) broken(ctx context.Context) error {
	return d.during(ctx, "web to v1.2.0, which never gets healthy", "web", true, func() (*cv1.Update, error) {
		return d.api.ToTag(ctx, "web", brokenTag, nil, Ended)
	}, cv1.UpdateStatus_UPDATE_STATUS_FAILED)
}

func (d *Demo) rollback(ctx context.Context) error {
	return d.during(ctx, "web back to v1.0.0", "web", true, func() (*cv1.Update, error) {
		return d.api.ToTag(ctx, "web", "v1.0.0", nil, Ended)
	}, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED)
}

// beside makes room on the other host first: an 8-GPU container needs a whole one.
func (d *Demo) beside(ctx context.Context) error {
	d.loads["chat"].Stop()
	if _, err := d.api.Containers.StopContainer(ctx, &cv1.StopContainerRequest{Org: Org, Name: "chat"}); err != nil {
		return err
	}
	stopped := func(c *cv1.Container) bool {
		return c != nil && c.GetStatus() == cv1.ContainerStatus_CONTAINER_STATUS_STOPPED
	}
	if err := d.api.AwaitContainer(ctx, "chat", stopped); err != nil {
		return err
	}
	d.say("stopped chat: the second host has 8 free GPUs again")
	return d.during(ctx, "model (8 GPUs) to v1.1.0, beside the old one", "model", true, func() (*cv1.Update, error) {
		return d.api.ToTag(ctx, "model", "v1.1.0", nil, Ended)
	}, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED)
}

// replace takes a GPU of the other host first, so that no whole host is free.
func (d *Demo) replace(ctx context.Context) error {
	r, err := d.api.Containers.StartContainer(ctx, &cv1.StartContainerRequest{Org: Org, Name: "chat"})
	if err != nil {
		return err
	}
	u, err := d.api.Await(ctx, r.GetUpdate(), Ended)
	if err := wantEnd(u, err, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED); err != nil {
		return err
	}
	d.say("started chat again on %s: no host has 8 free GPUs now", u.GetHost())
	return d.during(ctx, "model (8 GPUs) to v1.3.0, in place", "model", false, func() (*cv1.Update, error) {
		return d.api.ToTag(ctx, "model", "v1.3.0", nil, Ended)
	}, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED)
}

func (d *Demo) remove(ctx context.Context) error {
	d.loads["web"].Stop()
	if _, err := d.api.Containers.DeleteContainer(ctx, &cv1.DeleteContainerRequest{Org: Org, Name: "web"}); err != nil {
		return err
	}
	if err := d.api.AwaitContainer(ctx, "web", func(c *cv1.Container) bool { return c == nil }); err != nil {
		return err
	}
	d.say("deleted web")
	return nil
}

// close judges the run.
func (d *Demo) close() error {
	d.stopLoads()
	fmt.Fprintf(d.out, "\n%-46s %-11s %-10s %8s %7s %7s %11s\n", "update", "strategy", "result", "took", "sent", "failed", "longest gap")
	for _, r := range d.rows {
		fmt.Fprintf(d.out, "%-46s %-11s %-10s %8s %7d %7d %11s\n", r.what, r.strategy, r.result, round(r.took), r.stats.Sent, r.stats.Failed, round(r.stats.Gap))
	}
	if d.lost > 0 {
		return fmt.Errorf("blue-green updates lost %d requests; the logs are in %s", d.lost, d.fleet.Dir)
	}
	if len(d.rows) == 0 {
		return errors.New("no update was made")
	}
	fmt.Fprintf(d.out, "\nblue-green updates lost nothing\n")
	return nil
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}
