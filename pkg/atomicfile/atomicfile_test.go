package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

var errInjected = errors.New("injected")

// failing fails at the named call of the real filesystem.
type failing struct {
	OS
	at string
}

func (f failing) CreateTemp(dir, pattern string) (File, error) {
	if f.at == "create" {
		return nil, errInjected
	}
	file, err := f.OS.CreateTemp(dir, pattern)
	return failingFile{file, f.at}, err
}

func (f failing) Rename(from, to string) error {
	if f.at == "rename" {
		return errInjected
	}
	return f.OS.Rename(from, to)
}

func (f failing) SyncDir(dir string) error {
	if f.at == "syncdir" {
		return errInjected
	}
	return f.OS.SyncDir(dir)
}

type failingFile struct {
	File
	at string
}

func (f failingFile) Chmod(perm fs.FileMode) error {
	if f.at == "chmod" {
		return errInjected
	}
	return f.File.Chmod(perm)
}

func (f failingFile) Write(p []byte) (int, error) {
	if f.at == "write" {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, errInjected
	}
	return f.File.Write(p)
}

func (f failingFile) Sync() error {
	if f.at == "sync" {
		return errInjected
	}
	return f.File.Sync()
}

func (f failingFile) Close() error {
	if err := f.File.Close(); err != nil || f.at != "close" {
		return err
	}
	return errInjected
}

func TestWriteReplacesContentsAndPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	for _, step := range []struct {
		data string
		perm fs.FileMode
	}{{"first", 0o600}, {"second, longer", 0o640}, {"", 0o600}} {
		if err := Write(path, []byte(step.data), step.perm); err != nil {
			t.Fatalf("write %q: %v", step.data, err)
		}
		expect(t, path, step.data)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != step.perm {
			t.Fatalf("mode %v, %v; want %v", info.Mode().Perm(), err, step.perm)
		}
	}
}

func TestFailedWriteLeavesOldOrNewAndNothingBeside(t *testing.T) {
	for _, at := range []string{"create", "chmod", "write", "sync", "close", "rename", "syncdir"} {
		t.Run(at, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "state.json")
			if err := Write(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := WriteFS(failing{at: at}, path, []byte("new"), 0o600)
			if !errors.Is(err, errInjected) {
				t.Fatalf("error %v, want the injected one", err)
			}
			want := "old"
			if at == "syncdir" { // the rename happened, only its durability is unknown
				want = "new"
			}
			expect(t, path, want)
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Fatalf("folder holds %v, %v; want the one file", entries, err)
			}
		})
	}
}

func TestWriteNamesTheFileThatItCouldNotReplace(t *testing.T) {
	err := Write(filepath.Join(t.TempDir(), "missing", "state.json"), nil, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error %v, want not-exist", err)
	}
}

func expect(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Fatalf("file holds %q, %v; want %q", got, err, want)
	}
}

func TestCleanRemovesOnlyWhatDeadWritersLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".atomic-123.tmp", ".atomic-9.tmp", "state.json", ".atomic-notes"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clean(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("left are %v, %v", entries, err)
	}
	if err := Clean(filepath.Join(dir, "missing")); err != nil {
		t.Errorf("a missing folder: %v", err)
	}
}
