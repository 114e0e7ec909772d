// Package tsmtest is a kernel with configfs-tsm: a tree of entries that behaves as
// Documentation/ABI/testing/configfs-tsm-report says, over a processor of one's own.
package tsmtest

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
)

// Processor signs what a guest asks for, and says what the host gives beside it.
type Processor func(data [64]byte) (report, auxiliary []byte, err error)

// Kernel implements configfsi.Client. It is safe for concurrent use.
type Kernel struct {
	provider string
	ask      Processor

	mu      sync.Mutex
	made    int
	entries map[string]*entry
}

var _ configfsi.Client = (*Kernel)(nil)

// entry is one folder. A report is made when an attribute of it is first read after
// a write, and kept until the next.
type entry struct {
	generation uint64
	inblob     []byte
	of         uint64 // the generation that the report is of
	report     []byte
	auxiliary  []byte
}

// New returns a kernel whose driver has this name, such as sev_guest.
func New(provider string, ask Processor) *Kernel {
	return &Kernel{provider: provider, ask: ask, entries: map[string]*entry{}}
}

// Entries is how many entries there are: those that nobody has removed.
func (k *Kernel) Entries() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.entries)
}

// folder is where entries are made.
const folder = configfsi.TsmPrefix + "/report"

// maxInBlob is TSM_REPORT_INBLOB_MAX.
const maxInBlob = 64

// MkdirTemp implements configfsi.Client: entries are made in the folder of reports.
func (k *Kernel) MkdirTemp(dir, pattern string) (string, error) {
	if dir != folder {
		return "", &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.EPERM}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made++
	name := path.Join(dir, strings.ReplaceAll(pattern, "*", "")+strconv.Itoa(k.made))
	k.entries[name] = &entry{}
	return name, nil
}

// RemoveAll implements configfsi.Client: an entry goes with its attributes.
func (k *Kernel) RemoveAll(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.entries[name] == nil {
		return &fs.PathError{Op: "rmdir", Path: name, Err: syscall.ENOENT}
	}
	delete(k.entries, name)
	return nil
}

// ReadDir implements configfsi.Client; nobody lists configfs.
func (*Kernel) ReadDir(name string) ([]os.DirEntry, error) {
	return nil, &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOTSUP}
}

// WriteFile implements configfsi.Client. Every write makes a new generation.
func (k *Kernel) WriteFile(name string, contents []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, attribute, err := k.find(name)
	switch {
	case err != nil:
	case attribute == "privlevel":
		var level int
		if level, err = strconv.Atoi(strings.TrimSpace(string(contents))); err != nil || level < 0 || level > 3 {
			err = syscall.EINVAL
		}
	case attribute != "inblob":
		err = syscall.EACCES
	case len(contents) == 0 || len(contents) > maxInBlob:
		err = syscall.EINVAL
	default:
		e.inblob = append([]byte(nil), contents...)
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	e.generation++
	return nil
}

// ReadFile implements configfsi.Client.
func (k *Kernel) ReadFile(name string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, attribute, err := k.find(name)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	switch attribute {
	case "generation":
		return fmt.Appendf(nil, "%d\n", e.generation), nil
	case "provider":
		return []byte(k.provider + "\n"), nil
	case "privlevel_floor":
		return []byte("0\n"), nil
	case "outblob", "auxblob":
		if err := k.make(e); err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if attribute == "auxblob" {
			return append([]byte(nil), e.auxiliary...), nil
		}
		return append([]byte(nil), e.report...), nil
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: syscall.EACCES}
}

// make has the processor sign what was written, once a generation.
func (k *Kernel) make(e *entry) error {
	if len(e.inblob) == 0 {
		return syscall.EINVAL
	}
	if e.report != nil && e.of == e.generation {
		return nil
	}
	var data [64]byte
	copy(data[:], e.inblob)
	report, auxiliary, err := k.ask(data)
	if err != nil {
		return err
	}
	e.report, e.auxiliary, e.of = report, auxiliary, e.generation
	return nil
}

// find splits a path into its entry and attribute. The caller holds mu.
func (k *Kernel) find(name string) (*entry, string, error) {
	dir, attribute := path.Split(name)
	e := k.entries[path.Clean(dir)]
	if e == nil {
		return nil, "", syscall.ENOENT
	}
	return e, attribute, nil
}
