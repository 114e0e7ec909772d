package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/casemate-dev/casemate/pkg/atomicfile"
)

var errCrash = errors.New("the machine lost power")

// memFS is a filesystem that forgets, at a power cut, whatever was not synced:
// file contents before Sync, names before SyncDir.
type memFS struct {
	names   map[string]*inode // as processes see them
	durable map[string]*inode // as they will be after a power cut
	locked  bool
	temps   int
	writes  int // calls that change something, so far
	cutAt   int // the call at which the power goes; 0 never
	cut     bool
	keepAll bool // the cut happens to lose nothing
}

type inode struct {
	content, synced []byte
}

func newMemFS() *memFS {
	return &memFS{names: map[string]*inode{}, durable: map[string]*inode{}}
}

// step counts a changing call and cuts the power when its time has come. The
// call itself then has no effect.
func (m *memFS) step() error {
	m.writes++
	if m.cut || m.cutAt > 0 && m.writes == m.cutAt {
		m.cut = true
		return errCrash
	}
	return nil
}

// restart is the machine after the power came back.
func (m *memFS) restart() {
	if !m.keepAll {
		m.names = maps.Clone(m.durable)
		for _, n := range m.names {
			n.content = slices.Clone(n.synced)
		}
	}
	m.locked, m.cut, m.cutAt, m.writes = false, false, 0, 0
}

func (m *memFS) Lock(string) (io.Closer, error) {
	if m.locked {
		return nil, ErrInUse
	}
	m.locked = true
	return closer(func() { m.locked = false }), nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

func (m *memFS) ReadFile(path string, limit int64) ([]byte, error) {
	n, ok := m.names[path]
	if !ok {
		return nil, fmt.Errorf("read %s: %w", path, fs.ErrNotExist)
	}
	return slices.Clone(n.content[:min(int64(len(n.content)), limit)]), nil
}

func (m *memFS) CreateTemp(dir, _ string) (atomicfile.File, error) {
	if err := m.step(); err != nil {
		return nil, err
	}
	m.temps++
	name := filepath.Join(dir, fmt.Sprintf(".atomic-%d.tmp", m.temps))
	m.names[name] = &inode{}
	return &memFile{m, name, m.names[name]}, nil
}

func (m *memFS) Rename(from, to string) error {
	if err := m.step(); err != nil {
		return err
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *memFS) Remove(path string) error {
	if err := m.step(); err != nil {
		return err
	}
	delete(m.names, path)
	return nil
}

func (m *memFS) SyncDir(string) error {
	if err := m.step(); err != nil {
		return err
	}
	m.durable = maps.Clone(m.names)
	return nil
}

type memFile struct {
	fs   *memFS
	name string
	node *inode
}

func (f *memFile) Name() string            { return f.name }
func (f *memFile) Chmod(fs.FileMode) error { return f.fs.step() }
func (f *memFile) Close() error            { return f.fs.step() }

func (f *memFile) Write(p []byte) (int, error) {
	if err := f.fs.step(); err != nil {
		f.node.content = append(f.node.content, p[:len(p)/2]...)
		return len(p) / 2, err
	}
	f.node.content = append(f.node.content, p...)
	return len(p), nil
}

func (f *memFile) Sync() error {
	if err := f.fs.step(); err != nil {
		return err
	}
	f.node.synced = slices.Clone(f.node.content)
	return nil
}
