package fake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"

	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
)

// ownLock is the file that keeps a second backend off the folder.
const ownLock = ".backend.lock"

// Backend is the fake backend.
type Backend struct {
	cfg   Config
	hub   *hub
	files *fsnotify.Watcher
	lock  *os.File

	life     context.Context //nolint:containedctx // ends with Close
	end      context.CancelFunc
	routines sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	tracked map[string]*tracked
	tails   map[*tail]bool
}

var _ enclave.Backend = (*Backend)(nil)

// New takes the folder over, with the enclaves that run in it. It fails if
// another backend uses it.
func New(cfg Config) (*Backend, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	lock, err := takeLock(filepath.Join(cfg.Dir, ownLock))
	if err != nil {
		return nil, fmt.Errorf("fake backend: %s is used by another agent: %w", cfg.Dir, err)
	}
	files, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fake backend: watch files: %w", err), lock.Close())
	}
	life, end := context.WithCancel(context.Background())
	b := &Backend{
		cfg: cfg, hub: newHub(), files: files, lock: lock, life: life, end: end,
		tracked: map[string]*tracked{}, tails: map[*tail]bool{},
	}
	b.routines.Go(b.readFileEvents)
	if err := b.adoptAll(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Name implements enclave.Backend.
func (*Backend) Name() string { return "fake" }

// Close lets go of the enclaves: those with a process live on, those in this
// process end. It returns once no goroutine of the backend is left.
func (b *Backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	for _, t := range b.tracked {
		t.letGo()
	}
	b.mu.Unlock()
	b.end()
	err := b.files.Close()
	b.routines.Wait()
	if err := errors.Join(err, b.lock.Close()); err != nil {
		return fmt.Errorf("fake backend: close: %w", err)
	}
	return nil
}

func (b *Backend) dirOf(id string) guestdir.Dir { return guestdir.Dir(filepath.Join(b.cfg.Dir, id)) }

// track waits for the end of a guest. The caller holds mu.
func (b *Backend) track(id string, l life) {
	t := &tracked{id: id, dir: b.dirOf(id), life: l, done: make(chan struct{})}
	b.tracked[id] = t
	b.routines.Go(func() {
		gone, err := t.await(b.cfg.Now)
		if err != nil {
			b.cfg.Log.Error("the end of an enclave was not recorded", "enclave", id, "error", err)
		}
		if !gone && err == nil {
			return
		}
		b.mu.Lock()
		delete(b.tracked, id)
		b.mu.Unlock()
		close(t.done)
		b.cfg.Log.Info("enclave ended", "enclave", id)
		b.changed(id)
	})
}

// changed tells watchers and readers of the console.
func (b *Backend) changed(id string) {
	b.hub.notify(id)
	b.wakeTails(id)
}

// readFileEvents turns changes of files into events until Close.
func (b *Backend) readFileEvents() {
	for {
		select {
		case event, ok := <-b.files.Events:
			if !ok {
				return
			}
			b.fileEvent(event)
		case err, ok := <-b.files.Errors:
			if !ok {
				return
			}
			b.cfg.Log.Warn("file events were lost", "error", err)
			b.announceAll()
		}
	}
}

func (b *Backend) fileEvent(event fsnotify.Event) {
	id := filepath.Base(filepath.Dir(event.Name))
	switch filepath.Base(event.Name) {
	case guestdir.EndpointFile:
		b.hub.notify(id)
	case guestdir.ConsoleFile:
		b.wakeTails(id)
	}
}

// announceAll tells of every enclave, as after lost events.
func (b *Backend) announceAll() {
	ids, err := b.ids()
	if err != nil {
		b.cfg.Log.Error("enclaves can't be listed", "error", err)
	}
	for _, id := range ids {
		b.changed(id)
	}
}

// ids are the folders that could be enclaves, sorted.
func (b *Backend) ids() ([]string, error) {
	entries, err := os.ReadDir(b.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list the enclaves' folder: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && enclave.CheckID(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// exists says whether there is a folder of this id.
func (b *Backend) exists(id string) (bool, error) {
	if err := enclave.CheckID(id); err != nil {
		return false, err
	}
	switch info, err := os.Lstat(string(b.dirOf(id))); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for enclave %s: %w", id, err)
	default:
		return info.IsDir(), nil
	}
}
