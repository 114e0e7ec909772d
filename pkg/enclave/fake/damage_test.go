package fake_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake"
)

// damage makes a folder of a running enclave hostile, and reopens the backend.
func damage(t *testing.T, change func(dir string)) (*fake.Backend, enclave.Observed) {
	t.Helper()
	dir := t.TempDir()
	b := open(t, fake.Config{Dir: dir, GuestPath: guestPath})
	boot(t, b, newSpec(), listening)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	change(filepath.Join(dir, id))
	b = backend(t, fake.Config{Dir: dir})
	o, err := b.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return b, o
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedRecordsAreToldAndCanBeStopped(t *testing.T) {
	for rule, change := range map[string]func(dir string){
		"a spec that was changed":  func(d string) { write(t, filepath.Join(d, "spec.pb"), "x") },
		"a record that is no JSON": func(d string) { write(t, filepath.Join(d, "record.json"), "\x00") },
		"a record without end":     func(d string) { write(t, filepath.Join(d, "record.json"), strings.Repeat("x", 1<<20)) },
		"no record":                func(d string) { _ = os.Remove(filepath.Join(d, "record.json")) },
		"an endpoint that is none": func(d string) { write(t, filepath.Join(d, "endpoint"), "nowhere") },
		"a folder in a file's place": func(d string) {
			_ = os.Remove(filepath.Join(d, "spec.pb"))
			_ = os.Mkdir(filepath.Join(d, "spec.pb"), 0o700)
		},
		"a pipe in the record's place": func(d string) {
			_ = os.Remove(filepath.Join(d, "record.json"))
			_ = syscall.Mkfifo(filepath.Join(d, "record.json"), 0o600)
		},
	} {
		t.Run(rule, func(t *testing.T) {
			b, o := damage(t, change)
			if o.Reason != enclave.ReasonCorrupt || o.Phase != enclave.PhaseRunning || o.Text == "" {
				t.Errorf("observed %+v, expected it running with %s", o, enclave.ReasonCorrupt)
			}
			err := b.Start(t.Context(), enclave.Instance{ID: id, Spec: newSpec()})
			if !strings.Contains(rule, "endpoint") && !errors.Is(err, enclave.ErrExists) {
				t.Errorf("started over a damaged record: %v", err)
			}
			if err := b.Stop(t.Context(), id, patience); err != nil {
				t.Error(err)
			}
			if err := b.Remove(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDamagedExitIsTold(t *testing.T) {
	dir := t.TempDir()
	b := backend(t, fake.Config{Dir: dir})
	boot(t, b, newSpec(), listening)
	if err := b.Stop(t.Context(), id, patience); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, id, "exit.json"), `{"reason":"POWERED_OFF"}`)
	if o, err := b.Get(t.Context(), id); err != nil || o.Exit.Reason != enclave.ReasonCorrupt {
		t.Errorf("observed %+v, %v", o, err)
	}
}

func TestRecordedButNeverStartedIsStarted(t *testing.T) {
	dir := t.TempDir()
	b := backend(t, fake.Config{Dir: dir})
	boot(t, b, newSpec(), listening)
	if err := b.Stop(t.Context(), id, patience); err != nil {
		t.Fatal(err)
	}
	// As a crash between the record and the start leaves it:
	for _, name := range []string{"lock", "endpoint", "exit.json", "console.log"} {
		if err := os.Remove(filepath.Join(dir, id, name)); err != nil {
			t.Fatal(err)
		}
	}
	if o, err := b.Get(t.Context(), id); err != nil || o.Exit.Reason != enclave.ReasonNeverStarted {
		t.Errorf("observed %+v, %v", o, err)
	}
	boot(t, b, newSpec(), listening)
}

func TestStrangeEntriesOfTheFolderAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "notes"), "x")
	for _, name := range []string{".new-a-r1-1", "Upper", "lost+found"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b := backend(t, fake.Config{Dir: dir})
	if all, err := b.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("listed %v, %v", all, err)
	}
	boot(t, b, newSpec(), listening) // over the remains of an interrupted start
}

func TestLockHeldByAStrangerIsNoGuestToKill(t *testing.T) {
	dir := t.TempDir()
	b := open(t, fake.Config{Dir: dir, GuestPath: guestPath})
	boot(t, b, newSpec(), listening)
	if err := errors.Join(b.Stop(t.Context(), id, patience), b.Close(), os.Remove(filepath.Join(dir, id, "exit.json"))); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Open(filepath.Join(dir, id, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	b = backend(t, fake.Config{Dir: dir})
	if o, err := b.Get(t.Context(), id); err != nil || o.Phase != enclave.PhaseRunning {
		t.Errorf("observed %+v, %v; while the lock is held nothing proves that it is gone", o, err)
	}
	if err := b.Stop(t.Context(), id, 0); err == nil {
		t.Error("stopped what nobody can find")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if o := until(t, b, exited); o.Exit.Reason != enclave.ReasonDied {
		t.Errorf("once the lock is free: %+v", o)
	}
}
