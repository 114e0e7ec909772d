// Package records keeps, in one file an enclave, what the agent must know of it
// after a restart: what was asked for, how far it came, and that it was stopped.
//
// What runs is the backend's to tell, and who holds what the ledger's: a record
// that is lost costs a reason and a history, never a GPU or a running enclave.
package records

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/casemate-dev/casemate/pkg/atomicfile"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

// Store is a folder of records. Calls for different ids may be made at the same
// time; calls for one id must not.
type Store struct {
	dir  string
	disk atomicfile.FS
}

// Damaged is a file that could not be believed, and was set aside.
type Damaged struct {
	// ID is the enclave's id by the file's name.
	ID string
	// Aside is where the file was moved.
	Aside string
	// Err says what is wrong with it.
	Err error
}

const (
	suffix    = ".json"
	asideName = ".corrupt"
)

// Open makes the folder if need be, removes what dead writers left, and reads
// all records, sorted by id. Files that can't be believed are set aside. A nil
// disk is the real one. The caller holds the lock of the agent's state.
func Open(dir string, disk atomicfile.FS) (*Store, []Record, []Damaged, error) {
	if disk == nil {
		disk = atomicfile.OS{}
	}
	s := &Store{dir: dir, disk: disk}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, fmt.Errorf("make records folder: %w", err)
	}
	if err := atomicfile.Clean(dir); err != nil {
		return nil, nil, nil, fmt.Errorf("open records: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("list records: %w", err)
	}
	var all []Record
	var damaged []Damaged
	for _, e := range entries {
		id, isRecord := strings.CutSuffix(e.Name(), suffix)
		if !isRecord {
			continue
		}
		r, err := s.load(id)
		if err == nil {
			all = append(all, r)
			continue
		}
		d, err := s.setAside(id, err)
		if err != nil {
			return nil, nil, nil, err
		}
		damaged = append(damaged, d)
	}
	slices.SortFunc(all, func(a, b Record) int { return cmp.Compare(a.ID, b.ID) })
	return s, all, damaged, nil
}

func (s *Store) path(id string) string { return filepath.Join(s.dir, id+suffix) }

func (s *Store) load(id string) (Record, error) {
	f, err := os.Open(s.path(id))
	if err != nil {
		return Record{}, fmt.Errorf("open record: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return Record{}, fmt.Errorf("read record: %w", err)
	}
	r, err := decode(text)
	if err != nil {
		return Record{}, err
	}
	if r.ID != id {
		return Record{}, fmt.Errorf("it is named %q and speaks of %q", id, r.ID)
	}
	return r, nil
}

func (s *Store) setAside(id string, cause error) (Damaged, error) {
	aside := s.path(id) + asideName
	if err := s.disk.Rename(s.path(id), aside); err != nil {
		return Damaged{}, fmt.Errorf("set damaged record %s aside: %w", id, err)
	}
	return Damaged{ID: id, Aside: aside, Err: cause}, nil
}

// Put writes a record; once it returns nil the record survives a power cut.
func (s *Store) Put(r Record) error {
	if err := enclave.CheckID(r.ID); err != nil {
		return err
	}
	text, err := encode(r)
	if err != nil {
		return fmt.Errorf("enclave %s: %w", r.ID, err)
	}
	if err := atomicfile.WriteFS(s.disk, s.path(r.ID), text, 0o600); err != nil {
		return fmt.Errorf("record enclave %s: %w", r.ID, err)
	}
	return nil
}

// Delete forgets a record; one that doesn't exist is forgotten already.
func (s *Store) Delete(id string) error {
	if err := enclave.CheckID(id); err != nil {
		return err
	}
	if err := s.disk.Remove(s.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget enclave %s: %w", id, err)
	}
	if err := s.disk.SyncDir(s.dir); err != nil {
		return fmt.Errorf("forget enclave %s: %w", id, err)
	}
	return nil
}
