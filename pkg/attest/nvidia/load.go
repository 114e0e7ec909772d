package nvidia

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// LoadRIMs reads the RIM documents, *.xml, of a folder; there may be none, which the
// verdict then misses by name. Use os.DirFS, or
// os.OpenRoot's FS so that links can't lead out of it.
func LoadRIMs(folder fs.FS) (*RIMSet, error) {
	set, err := NewRIMSet(nil)
	if err != nil {
		return nil, err
	}
	err = eachFile(folder, []string{".xml"}, maxRIMSize, maxRIMs, set.Add)
	if err != nil {
		return nil, fmt.Errorf("load RIMs: %w", err)
	}
	return set, nil
}

// LoadOCSP reads the OCSP responses, *.der, *.dat, *.ocsp and *.b64, of a folder;
// there may be none.
func LoadOCSP(folder fs.FS) (*OCSPSet, error) {
	set, err := NewOCSPSet()
	if err != nil {
		return nil, err
	}
	add := func(name string, raw []byte) error {
		if err := set.Add(raw); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	if err := eachFile(folder, []string{".der", ".dat", ".ocsp", ".b64"}, 2*maxOCSPSize, maxOCSPFiles, add); err != nil {
		return nil, fmt.Errorf("load OCSP responses: %w", err)
	}
	return set, nil
}

// eachFile hands the files of a folder (not of those within) to add.
func eachFile(folder fs.FS, endings []string, maxSize int64, maxFiles int, add func(string, []byte) error) error {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return err
	}
	n := 0
	for _, e := range entries {
		if e.IsDir() || !endsIn(e.Name(), endings) {
			continue
		}
		if n++; n > maxFiles {
			return fmt.Errorf("the folder has more than %d files", maxFiles)
		}
		raw, err := readBounded(folder, e.Name(), maxSize)
		if err != nil {
			return err
		}
		if err := add(e.Name(), raw); err != nil {
			return err
		}
	}
	return nil
}

func endsIn(name string, endings []string) bool {
	for _, e := range endings {
		if path.Ext(name) == e {
			return true
		}
	}
	return false
}

func readBounded(folder fs.FS, name string, max int64) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, max+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(raw)) > max {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, max)
	}
	return raw, nil
}
