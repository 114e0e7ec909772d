// Package atomicfile replaces a file's contents so that a reader, also one
// after a crash or a power cut, finds either the old bytes or the new ones.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is the part of a filesystem that a durable write needs. OS is the real
// one; tests pass one that fails or stops at a chosen call.
type FS interface {
	// CreateTemp makes a new file in dir, as os.CreateTemp does.
	CreateTemp(dir, pattern string) (File, error)
	// Rename moves oldPath over newPath in one step.
	Rename(oldPath, newPath string) error
	// Remove deletes a file.
	Remove(path string) error
	// SyncDir makes the folder's entries durable.
	SyncDir(dir string) error
}

// File is an open temporary file.
type File interface {
	io.Writer
	// Name is the path by which the file was created.
	Name() string
	// Chmod sets the file's permission bits.
	Chmod(perm fs.FileMode) error
	// Sync makes the file's contents durable.
	Sync() error
	// Close closes the file.
	Close() error
}

// TempPattern is the pattern of the temporary names that a write leaves
// behind if the process dies in the middle; "*" stands for random digits.
// Such files are never read and may be removed.
const TempPattern = ".atomic-*.tmp"

// Write replaces the file at path with data and the given permission bits, on
// the real filesystem. See WriteFS.
func Write(path string, data []byte, perm fs.FileMode) error {
	return WriteFS(OS{}, path, data, perm)
}

// WriteFS replaces the file at path with data on fsys: a temporary file in the
// same folder, fsync, rename, fsync of the folder. Once it returns nil the new
// contents survive a power cut. If it returns an error, the file holds either
// the old contents or the new ones, whole.
func WriteFS(fsys FS, path string, data []byte, perm fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	tmp, err := fsys.CreateTemp(dir, TempPattern)
	if err != nil {
		return fmt.Errorf("create temporary file beside %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, discard(fsys, tmp.Name()))
		}
	}()
	if err := fill(tmp, data, perm); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fsys.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("make %s durable: %w", path, err)
	}
	return nil
}

// fill writes, syncs and closes the temporary file.
func fill(f File, data []byte, perm fs.FileMode) error {
	if err := f.Chmod(perm); err != nil {
		return errors.Join(err, f.Close())
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// discard removes a temporary file that is of no use any more; one that was
// renamed already is no error.
func discard(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove temporary file: %w", err)
	}
	return nil
}

// OS is the real filesystem.
type OS struct{}

// CreateTemp implements FS.
func (OS) CreateTemp(dir, pattern string) (File, error) { return os.CreateTemp(dir, pattern) }

// Rename implements FS.
func (OS) Rename(oldPath, newPath string) error { return os.Rename(oldPath, newPath) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return errors.Join(err, d.Close())
	}
	return d.Close()
}
