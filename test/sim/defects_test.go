package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// defect is one line of the coordinator that is wrong, as a patch of its source.
// The patch is applied to a copy that the compiler takes in place of the file.
type defect struct {
	name string
	// file is below internal/coordinator; old occurs in it exactly once.
	file, old string
	// new replaces old; it asks planted("…") so that one build has every defect.
	new string
	// within is the number of steps in which it has to be caught.
	within int64
}

// defects are what the simulator has to catch.
var defects = []defect{
	{"switch without the acknowledgement", "engine/switch.go", "\tt.tell(model.Info, \"SWITCHED\"", "\tif planted(NAME) {\n\t\tt.afterSwitch()\n\t\treturn\n\t}\n\tt.tell(model.Info, \"SWITCHED\"", 50_000},
	{"reservation of a failed candidate not released", "engine/cancel.go", "\tdelete(t.s.Reservations, u.New.ID)\n\tt.changed = true\n\tif t.shouldRestore()", "\tif !planted(NAME) {\n\t\tdelete(t.s.Reservations, u.New.ID)\n\t}\n\tt.changed = true\n\tif t.shouldRestore()", 60_000},
	{"reservation of a stopped enclave not released", "engine/teardown.go", "\tdelete(t.s.Reservations, c.Active.ID)\n\tc.Active, t.changed", "\tif !planted(NAME) {\n\t\tdelete(t.s.Reservations, c.Active.ID)\n\t}\n\tc.Active, t.changed", 60_000},
	{"deadline not persisted", "records/state.go", "\treturn put(w, Updates, key, *u)", "\tif planted(NAME) {\n\t\tc := *u\n\t\tc.Deadline = c.Created.AddDate(1, 0, 0)\n\t\tu = &c\n\t}\n\treturn put(w, Updates, key, *u)", 20_000},
	{"fence dropped", "records/records.go", "append([]store.Compare{r.fence}, compares...)", "append([]store.Compare{r.fence}[:map[bool]int{true: 0, false: 1}[planted(NAME)]], compares...)", 60_000},
	{"epoch not raised", "records/epoch.go", "\tidOp, err := Put(clusters, clusterKey, id)", "\tif planted(NAME) && epoch > 0 {\n\t\tr.Epoch = epoch\n\t}\n\tidOp, err := Put(clusters, clusterKey, id)", 20_000},
	{"cancel forgets the route", "engine/switch.go", "if t.s.Route.State != model.RouteServing && c.Active != nil && !t.distrusted() {", "if t.s.Route.State != model.RouteServing && c.Active != nil && (!t.distrusted() || planted(\"the end of an update opens the route of what is trusted no more\")) && !planted(NAME) {", 60_000},
	{"the end of an update opens the route of what is trusted no more", "engine/switch.go", "\tcase t.distrusted():\n", "\tcase t.distrusted() && !planted(NAME):\n", 60_000},
	{"absence of the candidate believed while it is stopped", "engine/progress.go", "\tcase u.Step == model.StepStopNew:\n\t\tif o.Stopped() {", "\tcase u.Step == model.StepStopNew:\n\t\tif o.Stopped() || planted(NAME) && o.Gone() {", 60_000},
	{"stopping taken for stopped", "engine/progress.go", "\tcase u.OldStopping:\n\t\tif o.Stopped() {", "\tcase u.OldStopping:\n\t\tif o.Stopped() || planted(NAME) {", 60_000},
	{"effects before the commit", "runner/actor.go", "\tsaved := s\n", "\tif planted(NAME) {\n\t\tr.follow(ctx, k, a, res)\n\t}\n\tsaved := s\n", 60_000},
	{"boot before the old enclave has stopped", "engine/progress.go", "\tif u.OldGone {\n\t\tt.oldGone()\n\t}\n}", "\tif u.OldGone {\n\t\tt.oldGone()\n\t} else if planted(NAME) && !u.Switched {\n\t\tt.enter(model.StepBoot)\n\t}\n}", 60_000},
	{"restore without proof", "engine/cancel.go", "\tt.tell(model.Warning, \"RESTORING\", \"bringing revision %d (%s) back\", u.New.Revision, u.New.Tag)\n\tt.enter(model.StepAwaitFree)", "\tif planted(NAME) {\n\t\tt.enter(model.StepBoot)\n\t\treturn\n\t}\n\tt.enter(model.StepAwaitFree)", 60_000},
	{"health not required", "engine/progress.go", "u.Step != model.StepHealth || !u.Healthy || !u.Attested", "u.Step != model.StepHealth || !u.Healthy && !planted(NAME) || !u.Attested", 20_000},
	{"evidence not awaited", "engine/progress.go", "\tcase u.Step == model.StepBoot && o.Guest():\n\t\tt.enter(model.StepAttest)", "\tcase planted(NAME) && u.Step == model.StepBoot && o.Guest():\n\t\tu.Attested, u.Healthy = true, true\n\t\tt.enter(model.StepHealth)\n\t\tt.candidateHealthy()\n\tcase u.Step == model.StepBoot && o.Guest():\n\t\tt.enter(model.StepAttest)", 20_000},
	{"cancel granted after the switch", "engine/cancel.go", "\tcase u.Switched && !u.Restoring:\n\t\treturn &Refused{Reason: \"ALREADY_SWITCHED\", Update: u.ID, Text: fmt.Sprintf(\"traffic has", "\tcase u.Switched && !u.Restoring && !planted(NAME):\n\t\treturn &Refused{Reason: \"ALREADY_SWITCHED\", Update: u.ID, Text: fmt.Sprintf(\"traffic has", 60_000},
	{"two updates at once", "engine/start.go", "if u := s.Update; u != nil && !u.Status.Ended() {", "if u := s.Update; u != nil && !u.Status.Ended() && !planted(NAME) {", 50_000},
	{"an unwanted candidate is not stopped", "engine/cancel.go", "\tcase !u.BootedAt.IsZero():\n\t\tt.enter(model.StepStopNew)", "\tcase !u.BootedAt.IsZero() && !planted(NAME):\n\t\tt.enter(model.StepStopNew)", 50_000},
	{"nothing is resumed after a crash", "engine/engine.go", "_, resumed := ev.(Resume)", "_, resumed := ev.(Resume)\n\tresumed = resumed && !planted(NAME)", 60_000},
	{"promise not made", "runner/actor.go", "\t\tif !deleted {\n\t\t\tr.cfg.Agents.Promise(p)", "\t\tif !deleted && !planted(NAME) {\n\t\t\tr.cfg.Agents.Promise(p)", 20_000},
	{"promises not loaded at the start", "runner/runner.go", "\tfor _, item := range items {\n\t\tr.cfg.Agents.Promise(item.Value)", "\tfor _, item := range items {\n\t\tif planted(NAME) {\n\t\t\tbreak\n\t\t}\n\t\tr.cfg.Agents.Promise(item.Value)", 50_000},
	{"generation does not grow", "engine/switch.go", "\tr.Generation++\n", "\tif !planted(NAME) || state != model.RouteHeld {\n\t\tr.Generation++\n\t}\n", 60_000},
	{"a leftover is not remembered", "engine/cancel.go", "\t\tc.Leftovers = append(c.Leftovers, ref)", "\t\tif !planted(NAME) {\n\t\t\tc.Leftovers = append(c.Leftovers, ref)\n\t\t}", 60_000},
	{"the death of what serves is not noticed", "engine/serving.go", "\tf := endedFailure(o, c.Active.Since)\n\tt.tell(model.Error, \"ENCLAVE_DIED\"", "\tif planted(NAME) {\n\t\treturn\n\t}\n\tf := endedFailure(o, c.Active.Since)\n\tt.tell(model.Error, \"ENCLAVE_DIED\"", 50_000},
	{"hold ignored", "engine/progress.go", "if u.Options.Hold && !u.Restoring {", "if u.Options.Hold && !u.Restoring && !planted(NAME) {", 60_000},
	{"a new revision is not kept", "records/state.go", "\tif revision == nil {\n\t\treturn nil", "\tif revision == nil || planted(NAME) && revision.Number > 1 {\n\t\treturn nil", 60_000},
	{"events dropped when the store fails", "runner/actor.go", "errors.As(err, &refused), errors.Is(err, store.ErrNotFound)", "errors.As(err, &refused), errors.Is(err, store.ErrNotFound), planted(NAME) && ctxAlive(err)", 60_000},
	{"commits in doubt are forgotten", "runner/doubt.go", "\tfirst := a.doubt == nil\n", "\tif planted(NAME) {\n\t\treturn\n\t}\n\tfirst := a.doubt == nil\n", 60_000},
	{"the room of a leftover's record is lost with it", "engine/serving.go", "\tcase given:\n", "\tcase given && !planted(NAME):\n", 60_000},
	{"the teardown forgets the enclave", "engine/teardown.go", "\tif left == 0 {\n\t\tt.enterTeardown(model.TeardownStopEnclave)", "\tif left == 0 && planted(NAME) {\n\t\tt.activeStopped()\n\t} else if left == 0 {\n\t\tt.enterTeardown(model.TeardownStopEnclave)", 60_000},
	{"a stopped container keeps its route", "engine/teardown.go", "\t\tt.changeRoute(model.RouteClosed, nil)\n\t\tt.enterTeardown(model.TeardownCloseRoute)", "\t\tif !planted(NAME) {\n\t\t\tt.changeRoute(model.RouteClosed, nil)\n\t\t}\n\t\tt.enterTeardown(model.TeardownCloseRoute)", 60_000},
	{"request ids are not kept", "api/requests.go", "\tkey := records.RequestKey(r.org, r.id)\n\top, err := records.Put", "\tif planted(NAME) {\n\t\treturn nil\n\t}\n\tkey := records.RequestKey(r.org, r.id)\n\top, err := records.Put", 60_000},
	{"a deletion is not told to those who watch", "api/watch.go", "\t\tif ev.Type == store.EventDelete {\n", "\t\tif planted(NAME) && ev.Type == store.EventDelete {\n\t\t\tcontinue\n\t\t}\n\t\tif ev.Type == store.EventDelete {\n", 60_000},
	{"a watch that is resumed misses what has happened", "api/watch.go", "\tif token != \"\" {\n", "\tif token != \"\" && planted(NAME) {\n\t\treturn s.cfg.Records.Store().Revision(ctx)\n\t}\n\tif token != \"\" {\n", 60_000},
	{"a refusal is told as a fault of the server", "api/errors.go", "\tcase errors.As(err, &refused):\n", "\tcase errors.As(err, &refused) && !planted(NAME):\n", 60_000},
	{"orphans are left", "reaper/reaper.go", "if !wanted {", "if !wanted && !planted(NAME) {", 50_000},
	{"silence of what serves is not shown", "engine/silent.go", "\tc.Silent = &model.Silence{Host: o.Host, Since: o.Since}\n\tt.changed = true\n", "\tif planted(NAME) {\n\t\treturn\n\t}\n\tc.Silent = &model.Silence{Host: o.Host, Since: o.Since}\n\tt.changed = true\n", 20_000},
	{"silence is shown for ever", "engine/silent.go", "\tif c.Silent == nil || c.Silent.Host != o.Host {", "\tif c.Silent == nil || c.Silent.Host != o.Host || planted(NAME) {", 20_000},
	{"a candidate on a silent host stays healthy", "engine/silent.go", "\tif u.Healthy {\n", "\tif u.Healthy && !planted(NAME) {\n", 20_000},
	{"a replace goes on elsewhere without the proof", "engine/cancel.go", "\tu.OldGone = true\n\tif u.Switched {", "\tu.OldGone = true\n\tif planted(NAME) && !u.Switched && u.Outcome == \"\" {\n\t\tt.placeAnew(\"h2\")\n\t\treturn\n\t}\n\tif u.Switched {", 20_000},
	{"what was left behind on a silent host is forgotten", "engine/silent.go", "\t\tt.abandon(u.New)\n", "\t\tif !planted(NAME) {\n\t\t\tt.abandon(u.New)\n\t\t}\n", 20_000},
	{"a moved candidate has its time anew", "engine/progress.go", "\tif !u.Moved || u.StartedUntil.IsZero() {", "\tif !u.Moved || u.StartedUntil.IsZero() || planted(NAME) {", 60_000},
	{"a replace stops the old version on a silent host", "engine/silent.go", "func (t *transition) dontStop(host string) {\n", "func (t *transition) dontStop(host string) {\n\tif planted(NAME) {\n\t\tt.enter(model.StepStopOld)\n\t\treturn\n\t}\n", 20_000},
	{"gateways are not told what was lost with a host", "engine/lost.go", "\tif len(lost) == 0 {\n", "\tif len(lost) == 0 || planted(NAME) {\n", 60_000},
	{"epoch not raised after a restore", "records/epoch.go", "\tepoch = max(epoch, r.Restored)\n", "\tif !planted(NAME) {\n\t\tepoch = max(epoch, r.Restored)\n\t}\n", 20_000},
	{"generations not raised after a restore", "engine/switch.go", "\tt.s.Route.Generation = max(t.s.Route.Generation, t.restored)\n", "\tif !planted(NAME) {\n\t\tt.s.Route.Generation = max(t.s.Route.Generation, t.restored)\n\t}\n", 60_000},
	{"what died since the backup closes a route", "engine/serving.go", "\t\tt.nextRoute(model.RouteClosed, nil)\n", "\t\tif planted(NAME) {\n\t\t\tt.changeRoute(model.RouteClosed, nil)\n\t\t} else {\n\t\t\tt.nextRoute(model.RouteClosed, nil)\n\t\t}\n", 60_000},
	{"an enclave's id is given again after a restore", "engine/start.go", "max(t.s.Container.Attempts, t.restored) + 1", "max(t.s.Container.Attempts, map[bool]int64{false: t.restored}[planted(NAME)]) + 1", 60_000},
	{"a route that is held since the backup stays so", "engine/switch.go", "\tif r.Generation >= t.restored || r.State", "\tif planted(NAME) || r.Generation >= t.restored || r.State", 60_000},
	{"what was deployed since the backup is reaped at once", "reaper/reaper.go", "\t\treturn false, 0, nil\n\t}\n\treturn false, r.cfg.Grace, nil", "\t\treturn false, 0, nil\n\t}\n\tif planted(NAME) {\n\t\treturn false, 0, nil\n\t}\n\treturn false, r.cfg.Grace, nil", 60_000},
	{"word of a host before it was set up anew is believed", "runner/actor.go", "o.Incarnation != \"\" && o.Incarnation != r.cfg.Agents.Incarnation(o.Host) {", "!planted(NAME) && o.Incarnation != \"\" && o.Incarnation != r.cfg.Agents.Incarnation(o.Host) {", 60_000},
	{"a machine that was found to be another is forgotten with the coordinator", "records/machines.go", "\top, err := Put(Machines, MachineKey(host), m)", "\tif planted(NAME) {\n\t\tm.Anew = model.Machine{}.Anew\n\t}\n\top, err := Put(Machines, MachineKey(host), m)", 60_000},
	{"that nothing has room is said before the hosts have answered", "plan/decide.go", "\tif names := joining(hosts, r); len(names) > 0 {", "\tif names := joining(hosts, r); len(names) > 0 && !planted(NAME) {", 60_000},
	{"wanted enclaves are reaped", "reaper/reaper.go", "\t\t\tif promises[e.GetId()].Room != (model.Room{}) {\n", "\t\t\tif promises[e.GetId()].Room != (model.Room{}) {\n\t\t\t\tif planted(NAME) {\n\t\t\t\t\tseen[host+\"/\"+e.GetId()] = true\n\t\t\t\t\tr.reap(ctx, host, e, host+\"/\"+e.GetId(), r.cfg.Grace)\n\t\t\t\t}\n", 60_000},
}

// helper is compiled into every patched package.
const helper = `package %s

import (
	"context"
	"errors"
	"os"
)

var plantedName = os.Getenv("SIM_PLANTED")

func planted(name string) bool { return plantedName == name }

func ctxAlive(err error) bool { return !errors.Is(err, context.Canceled) }

var _ = ctxAlive
`

// overlay writes the patched sources and the compiler's map to them.
func overlay(t *testing.T, root, dir string) string {
	t.Helper()
	text := map[string]string{}
	for _, d := range defects {
		path := filepath.Join(root, "internal/coordinator", d.file)
		if text[path] == "" {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text[path] = string(data)
		}
		if n := strings.Count(text[path], d.old); n != 1 {
			t.Fatalf("defect %q: its line occurs %d times in %s, want once: bring the patch up to date", d.name, n, d.file)
		}
		text[path] = strings.Replace(text[path], d.old, strings.ReplaceAll(d.new, "NAME", fmt.Sprintf("%q", d.name)), 1)
		help := filepath.Join(filepath.Dir(path), "planted.go")
		text[help] = fmt.Sprintf(helper, filepath.Base(filepath.Dir(path)))
	}
	replace := map[string]string{}
	for path, content := range text {
		to := filepath.Join(dir, fmt.Sprintf("f%d.go", len(replace)))
		if err := os.WriteFile(to, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestEveryPlantedDefectIsCaught builds the simulator once with every defect in
// it, and looks for each.
func TestEveryPlantedDefectIsCaught(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "sim.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", overlay(t, root, dir), "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with the defects: %v\n%s", err, out)
	}
	results := make([]string, len(defects))
	var wg sync.WaitGroup
	turn := make(chan struct{}, 2)
	for i := range defects {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			results[i] = hunt(t, bin, defects[i])
			if os.Getenv("SIM_WORDS") != "" {
				fmt.Printf("%-55s %s\n", defects[i].name, results[i])
			}
		})
	}
	wg.Wait()
	for i, d := range defects {
		t.Logf("%-55s %s", d.name, results[i])
	}
	t.Logf("%d defects planted", len(defects))
	t.Run("replayed", func(t *testing.T) { replays(t, bin) })
}

// huntLimit is far more than any hunt that goes on needs.
const huntLimit = 5 * time.Minute

// hunt runs the build with one defect switched on.
func hunt(t *testing.T, bin string, d defect) string {
	ctx, cancel := context.WithTimeout(t.Context(), huntLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-test.run", "^TestHunt$", "-test.v")
	cmd.Env = append(os.Environ(), "SIM_PLANTED="+d.name, fmt.Sprintf("SIM_STEPS=%d", d.within), "SIM_SEED=")
	out, err := cmd.CombinedOutput()
	if _, after, ok := bytes.Cut(out, []byte("CAUGHT ")); ok {
		line, _, _ := bytes.Cut(after, []byte("\n"))
		return string(line)
	}
	if ctx.Err() != nil {
		t.Errorf("%s: neither caught nor over within %s", d.name, huntLimit)
		return "NOT CAUGHT"
	}
	if i := bytes.Index(out, []byte("panic:")); i >= 0 {
		return "by a panic: " + strings.SplitN(string(out[i:]), "\n", 2)[0]
	}
	t.Errorf("%s: not caught within %d steps (%v): %s", d.name, d.within, err, tail(out))
	return "NOT CAUGHT"
}

func tail(out []byte) string { return string(out[max(0, len(out)-400):]) }

// openings are what a hunt begins with: every story, and one with a crash in
// every step.
func openings(t *testing.T) []func() outcome {
	var out []func() outcome
	add := func(s story, at string) {
		out = append(out, func() outcome {
			_, o, _ := tell(t, s, at, 0, false)
			return o
		})
	}
	for _, s := range slices.Concat(stories, restores) {
		add(s, "")
	}
	for _, step := range []model.Step{model.StepPrepare, model.StepBoot, model.StepHealth, model.StepSwitch, model.StepStopOld} {
		add(stories[0], "after the commit that enters "+string(step))
	}
	anew := slices.IndexFunc(stories, func(s story) bool { return s.name == takenName })
	add(stories[anew], "after the commit that enters ANEW")
	return out
}

// TestHunt is run by the test above, in a build with defects. In a build without
// it makes sure that the same seeds show none.
func TestHunt(t *testing.T) {
	name := os.Getenv("SIM_PLANTED")
	within := int64(20_000)
	if name != "" {
		if _, err := fmt.Sscan(os.Getenv("SIM_STEPS"), &within); err != nil {
			t.Fatal(err)
		}
	}
	var sum stats
	began := time.Now()
	plays := openings(t)
	for seed := uint64(0); sum.steps < within; seed++ {
		var out outcome
		if seed < uint64(len(plays)) {
			out = plays[seed]()
		} else {
			out = play(t, generate(seed))
		}
		sum.add(out.stats)
		if out.violation == nil {
			continue
		}
		if name == "" {
			t.Fatalf("seed %d violates %s without a defect: %s", seed, out.violation.invariant, out.violation.text)
		}
		fmt.Printf("CAUGHT %-4s after %7d steps, %5.1f s: %.110s\n", out.violation.invariant, sum.steps, time.Since(began).Seconds(), out.violation.text)
		return
	}
}
