package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestANewFileIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "backup.db")
	broken := errors.New("the stream broke")
	err := WriteNew(path, 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("a fill that fails: %v, want its error", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a fill that failed left %v", left)
	}
	write := func(text string) error {
		return WriteNew(path, 0o600, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
	}
	if err := write("whole"); err != nil {
		t.Fatal(err)
	}
	if err := write("another"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that is there: %v, want ErrExist", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "whole" {
		t.Errorf("the file holds %q, %v", data, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("there are %v, want the file alone", left)
	}
}

func TestANewFileReplacesNoneThatCameMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup.db")
	err := WriteNew(path, 0o600, func(io.Writer) error { return os.WriteFile(path, []byte("another's"), 0o600) })
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that came meanwhile: %v, want ErrExist", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "another's" {
		t.Errorf("the file holds %q, %v", data, err)
	}
}
