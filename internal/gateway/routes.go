package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// RoutesConfig says where routes are kept.
type RoutesConfig struct {
	// Path is the routes file; its folder must exist. Empty means that nothing is
	// kept, for tests and tools: such a gateway starts with no route.
	Path string
	// ClusterID is the cluster this gateway belongs to. Empty means the one in the
	// file or, with no file, that of the first batch.
	ClusterID string
	// Logger gets one line per change; slog.Default() if nil.
	Logger *slog.Logger
}

// Routes owns the routing table: it applies batches, keeps the routes on disk,
// and swaps the table that connections look up.
type Routes struct {
	path     string
	log      *slog.Logger
	table    atomic.Pointer[Table]
	register *register
	applied  atomic.Int64 // unix nanoseconds of the last batch, 0 if none
	badFiles int          // entries or files that could not be loaded

	mu   sync.Mutex // held while a batch is applied
	held held
	// unsaved says that the file is older than held.
	unsaved bool
	// leaving are replaced entries through which a dial may be under way.
	leaving []*entry
}

// OpenRoutes loads the routes file, so that a gateway serves before, and
// without, hearing from its coordinator. An entry that can't be used is left
// out with a log line; a file that can't be used is set aside with one. A file
// of another cluster is an error: it is not this gateway's to overwrite.
func OpenRoutes(cfg RoutesConfig) (*Routes, error) {
	r := &Routes{path: cfg.Path, log: cfg.Logger, register: newRegister()}
	if r.log == nil {
		r.log = slog.Default()
	}
	if len(cfg.ClusterID) > maxText {
		return nil, fmt.Errorf("open routes: cluster id is longer than %d bytes", maxText)
	}
	r.held = newHeld(cfg.ClusterID)
	if r.path != "" {
		if err := r.load(cfg.ClusterID); err != nil {
			return nil, err
		}
	}
	t, _ := (&Table{}).succeed(r.held, r.register.tallyFor)
	r.table.Store(t)
	r.register.adopt(t)
	return r, nil
}

func (r *Routes) load(clusterID string) error {
	if filepath.Base(r.path) == "." || filepath.Base(r.path) == string(filepath.Separator) {
		return fmt.Errorf("open routes: %q is not a file name", r.path)
	}
	raw, err := readRoutes(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var h held
	var bad []error
	if err == nil {
		h, bad, err = decodeHeld(raw)
	}
	if errors.Is(err, errCorrupt) {
		r.badFiles++
		aside, asideErr := setAside(r.path)
		r.log.Error("routes file can't be used and was set aside; starting without routes",
			"path", aside, "error", errors.Join(err, asideErr))
		return asideErr
	}
	if err != nil {
		return err
	}
	if clusterID != "" && h.clusterID != "" && h.clusterID != clusterID {
		return fmt.Errorf("open routes: %s belongs to cluster %q, this gateway to %q; give it another path or remove the file: %w",
			r.path, clip(h.clusterID), clusterID, ErrForeignCluster)
	}
	for _, err := range bad {
		r.badFiles++
		r.log.Error("entry of the routes file left out", "path", r.path, "error", err)
	}
	if h.clusterID == "" {
		h.clusterID = clusterID
	}
	r.held = h
	r.log.Info("routes loaded", "path", r.path, "routes", len(h.routes), "epoch", h.epoch)
	return nil
}

// Table returns the table in force. It never changes; ask again for a newer one.
func (r *Routes) Table() *Table { return r.table.Load() }

// Open is the number of connections open to an enclave.
func (r *Routes) Open(enclave string) int { return r.register.open(enclave) }

// Counts lists the enclaves that routes lead to or that have connections.
func (r *Routes) Counts() []EnclaveCount {
	return r.register.counts(func(*tally) bool { return true })
}

// Apply takes over a batch and returns the acknowledgement to send for it. When
// it returns nil, what it says is on disk, the new table is in force, and no
// dial to a replaced endpoint is under way or will be begun. A batch that is
// refused changes nothing. One that can't be written is in force all the same, for
// clients must not be sent where nothing serves any more; but since a restart would
// forget it, it is an error. After the context's error only the end of the dials is
// not certain. The same batch may be applied again.
func (r *Routes) Apply(ctx context.Context, b Batch) (Ack, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, ack, err := r.held.plan(b)
	if err != nil {
		return Ack{}, fmt.Errorf("apply routes: %w", err)
	}
	unwritten := r.save(next)
	r.held = next
	replaced, err := r.swap(ctx, next)
	if err := errors.Join(unwritten, err); err != nil {
		return Ack{}, fmt.Errorf("apply routes: %w", err)
	}
	r.register.lose(b.Lost)
	r.applied.Store(time.Now().UnixNano())
	ack.Draining = r.displaced(replaced)
	for _, refusal := range ack.Refused {
		r.log.Warn("route refused", "domain", refusal.Domain, "generation", refusal.Generation,
			"held", refusal.Held, "reason", refusal.Reason)
	}
	return ack, nil
}

// save writes what is held next, if that differs from the file.
func (r *Routes) save(next held) error {
	if r.path == "" || !r.unsaved && next.sameOnDisk(r.held) {
		return nil
	}
	r.unsaved = true
	raw, err := next.encode()
	if err != nil {
		return err
	}
	if err := writeRoutes(r.path, raw); err != nil {
		return err
	}
	r.unsaved = false
	return nil
}

// swap puts the table for what is held next into force and waits until the
// entries it replaces are quiet; each dial has a deadline, so that is soon.
func (r *Routes) swap(ctx context.Context, next held) ([]*entry, error) {
	t, replaced := r.table.Load().succeed(next, r.register.tallyFor)
	r.table.Store(t)
	for _, e := range replaced {
		e.shut()
		now, _ := t.Route(e.route.Domain)
		r.log.Info("route changed", "domain", e.route.Domain, "generation", now.Generation,
			"state", now.State, "enclave", now.Enclave, "previous", e.route.Enclave)
	}
	r.leaving = append(r.leaving, replaced...)
	err := r.settle(ctx)
	r.register.adopt(t)
	return replaced, err
}

// settle waits for the entries that are leaving, those of earlier batches whose
// wait was cut short included.
func (r *Routes) settle(ctx context.Context) error {
	for len(r.leaving) > 0 {
		e := r.leaving[0]
		select {
		case <-e.quiet:
			r.leaving = r.leaving[1:]
		case <-ctx.Done():
			return fmt.Errorf("wait for dials to %s: %w", e.route.Endpoint, ctx.Err())
		}
	}
	r.leaving = nil
	return nil
}

// displaced counts the enclaves that the replaced entries led to and that no
// route leads to now.
func (r *Routes) displaced(replaced []*entry) []EnclaveCount {
	seen := map[string]bool{}
	var out []EnclaveCount
	for _, e := range replaced {
		t := e.enclave
		if t.id != "" && t.draining.Load() && !seen[t.id] {
			seen[t.id] = true
			out = append(out, EnclaveCount{Enclave: t.id, Open: int(t.open.Load()), Draining: true})
		}
	}
	return out
}
