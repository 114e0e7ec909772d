package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// app is what a test deploys. The zero value is a small container that boots at
// once.
type app struct {
	gpus       int
	boot, load time.Duration
	fault      string
	// secrets are declared; the variable LOG_LEVEL always is.
	secrets []string
	// image is the last digit of the app's image; sidecar likewise, 0 for no
	// second container.
	image, sidecar int
	// extra is put at the end of the first container, misspelt.
	extra string
}

// loading returns the app as one that loads for longer than any test lasts: its
// update is still at it, however late a test does something about it.
func (a app) loading() app {
	a.load = 10 * time.Minute
	return a
}

// config returns the app's casemate.yml.
func (a app) config() string {
	var b strings.Builder
	cpus, memory := 1, 1024
	if a.gpus > 0 {
		cpus, memory = 4*a.gpus, 32768*a.gpus
	}
	fmt.Fprintf(&b, "cvm-version: 1.0.0\ncpus: %d\nmemory: %d\ngpus: %d\n\ncontainers:\n", cpus, memory, a.gpus)
	fmt.Fprintf(&b, "  - name: app\n    image: registry.casemate.test/app@sha256:%064x\n", 0xa0+a.image)
	if a.gpus > 0 {
		b.WriteString("    runtime: nvidia\n    gpus: all\n")
	}
	b.WriteString("    env:\n      - LOG_LEVEL\n")
	fmt.Fprintf(&b, "      - CASEMATE_SIM_BOOT_TIME: %s\n      - CASEMATE_SIM_LOAD_TIME: %s\n", a.boot, a.load)
	if a.fault != "" {
		fmt.Fprintf(&b, "      - CASEMATE_SIM_FAULT: %q\n", a.fault)
	}
	if len(a.secrets) > 0 {
		fmt.Fprintf(&b, "    secrets: [%s]\n", strings.Join(a.secrets, ", "))
	}
	b.WriteString("    healthcheck:\n      test: [\"CMD\", \"curl\", \"-sf\", \"http://localhost:8080/health\"]\n" +
		"      interval: 100ms\n      timeout: 1s\n      retries: 3\n")
	fmt.Fprintf(&b, "      start_period: %s\n", max(time.Second, 2*a.load))
	if a.extra != "" {
		fmt.Fprintf(&b, "    %s\n", a.extra)
	}
	if a.sidecar > 0 {
		fmt.Fprintf(&b, "  - name: sidecar\n    image: registry.casemate.test/sidecar@sha256:%064x\n", 0xb0+a.sidecar)
	}
	b.WriteString("\nshim:\n  upstream-port: 8080\n  upstream-container: app\n")
	return b.String()
}

// tag is a release of a repository.
type tag struct {
	name string
	app  app
}

// repositories counts them: each has a folder of its own.
var repositories atomic.Int64

// repository makes a repository with these tags and returns its path.
func (f *fleet) repository(t *testing.T, name string, tags ...tag) string {
	t.Helper()
	var releases []dev.Release
	for _, g := range tags {
		releases = append(releases, dev.Release{Tag: g.name, Config: g.app.config()})
	}
	dir := filepath.Join(f.Dir, "repos", fmt.Sprint(name, "-", repositories.Add(1)))
	key, err := f.ReleaseKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.WriteRepository(dir, releases, key); err != nil {
		t.Fatal(err)
	}
	return dir
}

// versions makes a repository with v1, v2, … and returns a spec of the first.
func (f *fleet) versions(t *testing.T, name string, apps ...app) *cv1.ContainerSpec {
	t.Helper()
	var tags []tag
	for n, a := range apps {
		tags = append(tags, tag{fmt.Sprintf("v%d", n+1), a})
	}
	return &cv1.ContainerSpec{Repository: f.repository(t, name, tags...), Tag: "v1"}
}

// running deploys v1 of a container and wants it to serve.
func (f *fleet) running(t *testing.T, name string, apps ...app) *cv1.ContainerSpec {
	t.Helper()
	spec := f.versions(t, name, apps...)
	f.deployed(t, name, spec)
	return spec
}

func (f *fleet) deployed(t *testing.T, name string, spec *cv1.ContainerSpec) *cv1.Update {
	t.Helper()
	u, err := f.Deploy(bounded(t), name, spec)
	return wantEnd(t, u, err, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED)
}

// begin starts an update to a tag and returns at once.
func (f *fleet) begin(t *testing.T, name, to string, o *cv1.UpdateOptions) *cv1.Update {
	t.Helper()
	u, err := f.ToTag(bounded(t), name, to, o, func(*cv1.Update) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// beginAt starts an update and returns when it is in a step.
func (f *fleet) beginAt(t *testing.T, name, to string, o *cv1.UpdateOptions, step cv1.UpdateStep) *cv1.Update {
	t.Helper()
	u := f.watched(t, name, to, o, func(u *cv1.Update) bool { return u.GetStep() == step || dev.Ended(u) })
	if u.GetStep() != step {
		t.Fatalf("update %s ended as %s (%s) and never was in %s", u.GetId(), u.GetStatus(), u.GetText(), step)
	}
	return u
}

// watched starts an update and returns when a watch that was open before shows that
// cond holds. No state is too short to be seen: a watch skips nothing.
func (f *fleet) watched(t *testing.T, name, to string, o *cv1.UpdateOptions, cond func(*cv1.Update) bool) *cv1.Update {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	stream, err := f.Updates.WatchUpdates(ctx, &cv1.WatchUpdatesRequest{Org: dev.Org, Container: name})
	for synced := false; !synced && err == nil; {
		var m *cv1.WatchUpdatesResponse
		m, err = stream.Recv()
		synced = m.GetSynced() != nil
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Updates.StartUpdate(ctx, &cv1.StartUpdateRequest{
		Org: dev.Org, Container: name, Spec: &cv1.ContainerSpec{Tag: to}, UpdateMask: mask("tag"), Options: o,
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if u := m.GetChanged(); u.GetId() == r.GetUpdate().GetId() && cond(u) {
			return u
		}
	}
}

// updated moves a container to a tag and wants the update to end this way.
func (f *fleet) updated(t *testing.T, name, to string, o *cv1.UpdateOptions, want cv1.UpdateStatus) *cv1.Update {
	t.Helper()
	u, err := f.ToTag(bounded(t), name, to, o, dev.Ended)
	return wantEnd(t, u, err, want)
}

// ended waits for the end of an update and wants it this way.
func (f *fleet) ended(t *testing.T, u *cv1.Update, want cv1.UpdateStatus) *cv1.Update {
	t.Helper()
	u, err := f.Await(bounded(t), u, dev.Ended)
	return wantEnd(t, u, err, want)
}

// at waits until an update is in a step.
func (f *fleet) at(t *testing.T, u *cv1.Update, step cv1.UpdateStep) *cv1.Update {
	t.Helper()
	u, err := f.Await(bounded(t), u, func(u *cv1.Update) bool { return u.GetStep() == step || dev.Ended(u) })
	if err != nil {
		t.Fatal(err)
	}
	if u.GetStep() != step {
		t.Fatalf("update %s ended as %s (%s) and never was in %s", u.GetId(), u.GetStatus(), u.GetText(), step)
	}
	return u
}

func wantEnd(t *testing.T, u *cv1.Update, err error, want cv1.UpdateStatus) *cv1.Update {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if u.GetStatus() != want {
		t.Fatalf("update %s ended as %s, want %s: %s %s", u.GetId(), u.GetStatus(), want, u.GetReason(), u.GetText())
	}
	return u
}

// get returns a container.
func (f *fleet) get(t *testing.T, name string) *cv1.Container {
	t.Helper()
	r, err := f.Containers.GetContainer(bounded(t), &cv1.GetContainerRequest{Org: dev.Org, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetContainer()
}

// is waits until a container has a status.
func (f *fleet) is(t *testing.T, name string, want cv1.ContainerStatus) *cv1.Container {
	t.Helper()
	var last *cv1.Container
	err := f.AwaitContainer(bounded(t), name, func(c *cv1.Container) bool {
		last = c
		return c.GetStatus() == want
	})
	if err != nil {
		t.Fatalf("%s never was %s; last %v: %v", name, want, last, err)
	}
	return last
}

// gone waits until a container is deleted.
func (f *fleet) gone(t *testing.T, name string) {
	t.Helper()
	if err := f.AwaitContainer(bounded(t), name, func(c *cv1.Container) bool { return c == nil }); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) remove(t *testing.T, name string) {
	t.Helper()
	if _, err := f.Containers.DeleteContainer(bounded(t), &cv1.DeleteContainerRequest{Org: dev.Org, Name: name}); err != nil {
		t.Fatal(err)
	}
	f.gone(t, name)
}

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }
