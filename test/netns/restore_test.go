package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli"
	"github.com/casemate-dev/casemate/internal/dev"
)

// TestAnOldBackupRestored pins what docs/restore.md says: what was updated since
// the backup goes back to the version of the backup without a failed request,
// what was deployed since is left running for the reaper's grace time, and what
// did not change is not touched.
func TestAnOldBackupRestored(t *testing.T) {
	t.Parallel()
	f := start(t, "8xH200", "8xH200")
	web, chat := f.deploy(t, "web", dev.HostName(0)), f.deploy(t, "chat", dev.HostName(0))
	same := f.container(t, "chat", anything).GetActiveEnclave()
	backup := filepath.Join(f.Dir, "backup.db")
	f.backup(t, backup)

	for _, tag := range []string{"v1.1.0", "v1.3.0", "v1.1.0"} {
		succeeded(t, f.follow(t, f.begin(t, "web", tag, dev.HostName(1)), dev.Ended))
	}
	newer := f.container(t, "web", running("v1.1.0")).GetActiveEnclave()
	model := f.deploy(t, "model", dev.HostName(1))
	unknown := f.container(t, "model", anything).GetActiveEnclave()
	for range 3 { // epochs that the backup knows nothing of
		f.whileStopped(t, func() error { return nil })
	}

	f.whileStopped(t, func() error { return f.restore(backup) })
	f.allReady(t)
	// Nobody wants it any more, and nothing but the grace time of the reaper ends it.
	f.container(t, "web", func(c *cv1.Container) string {
		if missing := running("v1.0.0")(c); missing != "" || c.GetActiveHost() == dev.HostName(0) {
			return missing
		}
		return fmt.Sprintf("web serves on %s", c.GetActiveHost())
	})
	again := f.container(t, "web", func(c *cv1.Container) string {
		if c.GetActiveEnclave() == newer || f.pids(t)[c.GetActiveEnclave()] == 0 {
			return fmt.Sprintf("%s is said to serve", c.GetActiveEnclave())
		}
		return running("v1.0.0")(c)
	}).GetActiveEnclave()
	f.onlyRuns(t, same, again, newer, unknown)
	for _, l := range []*dev.Load{web, chat, model} {
		s := unharmed(t, l)
		t.Logf("%d requests answered by %v, longest gap %s", s.Sent, s.Tags, s.Gap)
	}
	f.answers(t, "web", "v1.0.0")
	succeeded(t, f.follow(t, f.begin(t, "web", "v1.3.0", dev.HostName(1)), dev.Ended))
	f.container(t, "web", running("v1.3.0"))
	f.answers(t, "web", "v1.3.0")
	unharmed(t, web)
}

// answers wants only this tag to answer clients that come now. Those from before
// keep their connections to what nobody wants any more, until it is stopped.
func (f *fleet) answers(t *testing.T, name, tag string) {
	t.Helper()
	l := f.load(t, name, patience)
	defer l.Stop()
	if s := unharmed(t, l); len(s.Tags) != 1 || s.Tags[0] != tag {
		t.Errorf("%v answered for %s, want what the coordinator says: %s", s.Tags, name, tag)
	}
}

// whileStopped does something while the coordinator is stopped.
func (f *fleet) whileStopped(t *testing.T, do func() error) {
	t.Helper()
	if err := f.Coordinator.Stop(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(), f.StartCoordinator()); err != nil {
		t.Fatal(err)
	}
	f.allReady(t)
}

func (f *fleet) store() string { return filepath.Join(f.Dir, "coordinator", "store.db") }

// backup has the command line write a backup of the running store to path.
func (f *fleet) backup(t *testing.T, path string) {
	t.Helper()
	var said bytes.Buffer
	env := cli.System("test")
	env.Out, env.Err = &said, &said
	if code := cli.Run(t.Context(), []string{"backup", path, "--coordinator", f.Socket()}, env); code != cli.ExitOK {
		t.Fatalf("casemate backup: exit code %d: %s", code, &said)
	}
}

// restore puts a backup in the place of the store.
func (f *fleet) restore(path string) error {
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(f.store() + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Rename(path, f.store())
}
