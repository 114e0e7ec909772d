package gateway

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxDisk bounds the routes file, in bytes: maxRoutes routes of common size and
// as many tombstones.
const maxDisk = 128 << 20

// readRoutes reads the file, bounded. A missing file is fs.ErrNotExist.
func readRoutes(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open routes: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxDisk+1))
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	if len(raw) > maxDisk {
		return nil, fmt.Errorf("%w: longer than %d bytes", errCorrupt, maxDisk)
	}
	return raw, nil
}

// writeRoutes replaces the file: when it returns nil the new content survives a
// power cut, and at no moment is there a file with half of it.
func writeRoutes(path string, raw []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write routes: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails, as it should, once the rename is done
	if err := writeSync(tmp, raw); err != nil {
		return fmt.Errorf("write routes to %s: %w", tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write routes: %w", err)
	}
	return syncDir(dir)
}

func writeSync(f *os.File, raw []byte) error {
	_, err := f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// setAside renames a routes file that can't be read, and returns its new name.
// One earlier file set aside is replaced: the newest says most.
func setAside(path string) (string, error) {
	aside := path + ".corrupt"
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("set routes aside: %w", err)
	}
	return aside, nil
}
