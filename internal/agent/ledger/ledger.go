package ledger

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/pkg/atomicfile"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// fileName is the ledger's file within its folder.
const fileName = "ledger.json"

// Config says where a ledger is and what it has to give out.
type Config struct {
	// BootID identifies the host's boot: /proc/sys/kernel/random/boot_id.
	BootID string
	// Capacity is what the host has, Reserved what enclaves must not get of it.
	Capacity, Reserved Capacity
	// FS is the filesystem; nil means the real one.
	FS FS
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Ledger is the record of one host's claims. It is safe for concurrent use;
// each change is on disk when its method returns nil. After an error the
// change has not happened as far as this process is concerned.
type Ledger struct {
	path   string
	fs     FS
	now    func() time.Time
	bootID string
	total  Capacity
	lock   io.Closer

	// turn holds the ledger's contents while nobody works on them: to receive
	// is to own.
	turn chan *contents
}

// contents is what the holder of the turn owns.
type contents struct {
	state      state
	reconciled bool
	closed     bool
	conditions []gpu.Condition
}

// Open opens the ledger in folder dir, or begins one. A damaged file is set
// aside beside it and reported as a condition. Nothing can be claimed before
// Reconcile. A folder that another process uses gives ErrInUse.
func Open(dir string, cfg Config) (*Ledger, error) {
	l := &Ledger{
		path: filepath.Join(dir, fileName), fs: cfg.FS, now: cfg.Now, bootID: cfg.BootID,
		total: Capacity{cfg.Capacity.CPUs - cfg.Reserved.CPUs, cfg.Capacity.MemoryMiB - cfg.Reserved.MemoryMiB},
		turn:  make(chan *contents, 1),
	}
	if l.fs == nil {
		l.fs = Disk{}
	}
	if l.now == nil {
		l.now = time.Now
	}
	if cfg.BootID == "" || len(cfg.BootID) > maxText || l.total.CPUs < 0 || l.total.MemoryMiB < 0 {
		return nil, fmt.Errorf("open ledger: boot id %q, capacity %+v less %+v reserved is no usable configuration",
			cfg.BootID, cfg.Capacity, cfg.Reserved)
	}
	lock, err := l.fs.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.lock = lock
	c, err := l.load()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), lock.Close())
	}
	l.turn <- c
	return l, nil
}

// load reads the file, and sets it aside if it can't be believed.
func (l *Ledger) load() (*contents, error) {
	content, err := l.fs.ReadFile(l.path, maxFile+1)
	if errors.Is(err, fs.ErrNotExist) {
		return &contents{state: newState()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.path, err)
	}
	s, err := decode(content)
	if err == nil {
		return &contents{state: s}, nil
	}
	sum := sha256.Sum256(content)
	aside := l.path + ".corrupt-" + hex.EncodeToString(sum[:6])
	if err := atomicfile.WriteFS(l.fs, aside, content, 0o600); err != nil {
		return nil, fmt.Errorf("set damaged ledger aside: %w", err)
	}
	return &contents{state: newState(), conditions: []gpu.Condition{{
		Code: "ledger-corrupt", Severity: gpu.SeverityError, Since: l.now().UTC(),
		Text: fmt.Sprintf("%v; it was kept as %s, and the record is rebuilt from what runs on the host", err, aside),
	}}}, nil
}

// Close ends the use of the ledger. Later calls give ErrClosed.
func (l *Ledger) Close() error {
	c := <-l.turn
	defer func() { l.turn <- c }()
	if c.closed {
		return nil
	}
	c.closed = true
	if err := l.lock.Close(); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

// take waits for the caller's turn; give ends it.
func (l *Ledger) take(ctx context.Context) (*contents, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait for ledger: %w", err)
	}
	select {
	case c := <-l.turn:
		if c.closed {
			l.give(c)
			return nil, ErrClosed
		}
		return c, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for ledger: %w", ctx.Err())
	}
}

func (l *Ledger) give(c *contents) { l.turn <- c }

// commit puts a new state on disk and then in force.
func (l *Ledger) commit(c *contents, next state) error {
	content, err := encode(next)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFS(l.fs, l.path, content, 0o600); err != nil {
		return fmt.Errorf("record claims: %w", err)
	}
	c.state = next
	return nil
}

// View is the ledger's contents at one moment. It belongs to its receiver.
type View struct {
	Claims      []Claim // sorted by enclave id
	Held        gpu.Held
	Quarantined map[gpu.BDF]string // card to reason
	Free        Capacity           // of what enclaves may have
	Reconciled  bool
	Conditions  []gpu.Condition
}

// View returns what the ledger holds.
func (l *Ledger) View(ctx context.Context) (View, error) {
	c, err := l.take(ctx)
	if err != nil {
		return View{}, err
	}
	defer l.give(c)
	v := View{
		Claims: []Claim{}, Held: c.state.held(), Quarantined: c.state.quarantined(),
		Free: c.state.free(l.total), Reconciled: c.reconciled, Conditions: slices.Clone(c.conditions),
	}
	for _, claim := range c.state.claims {
		v.Claims = append(v.Claims, claim.clone())
	}
	slices.SortFunc(v.Claims, func(a, b Claim) int { return cmp.Compare(a.EnclaveID, b.EnclaveID) })
	return v, nil
}

// List returns all claims, sorted by enclave id.
func (l *Ledger) List(ctx context.Context) ([]Claim, error) {
	v, err := l.View(ctx)
	return v.Claims, err
}

// Held says who holds which GPU and NVSwitch.
func (l *Ledger) Held(ctx context.Context) (gpu.Held, error) {
	v, err := l.View(ctx)
	return v.Held, err
}
