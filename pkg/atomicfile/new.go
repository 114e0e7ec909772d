package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteNew makes a file at path with what fill writes, whole or not at all. A
// file that is there already is an error that is fs.ErrExist, and stays as it
// is; fill is not called then. Once WriteNew returns nil the file survives a
// power cut.
func WriteNew(path string, perm fs.FileMode, fill func(io.Writer) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("make %s: %w", path, fs.ErrExist)
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, TempPattern)
	if err != nil {
		return fmt.Errorf("create temporary file beside %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, discard(OS{}, tmp.Name())) }()
	if err := stream(tmp, perm, fill); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// A link, unlike a rename, replaces nothing that has come meanwhile.
	if err := os.Link(tmp.Name(), path); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := (OS{}).SyncDir(dir); err != nil {
		return fmt.Errorf("make %s durable: %w", path, err)
	}
	return nil
}

// stream fills, syncs and closes the temporary file.
func stream(f *os.File, perm fs.FileMode, fill func(io.Writer) error) error {
	if err := f.Chmod(perm); err != nil {
		return errors.Join(err, f.Close())
	}
	w := bufio.NewWriter(f)
	if err := fill(w); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(w.Flush(), f.Sync(), f.Close())
}
