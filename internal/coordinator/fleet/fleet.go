package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// Sink hears what agents say of enclaves. It must not block.
type Sink interface {
	// Observed tells of an enclave of the container that the coordinator, or if
	// it knows of none the agent's spec, names.
	Observed(k model.ContainerKey, o model.Observation)
}

// Conn is the connection to an agent. It connects when it is used, and again.
type Conn interface {
	grpc.ClientConnInterface
	io.Closer
}

// Config describes a fleet.
type Config struct {
	Log       *slog.Logger
	ClusterID string
	Epoch     int64
	// Profiles are the CVM profiles that the policy permits.
	Profiles []agentv1.CvmProfile
	// Dial connects to an agent.
	Dial func(address string) (Conn, error)
	Now  func() time.Time
	// Note commits what is found out about the machine of a host, before anything that
	// it says is believed.
	Note func(ctx context.Context, host string, m model.Machine) error
	// Silent is how long a host may be unreachable until those who were promised
	// room there are told that others should do without it, and again as long; 0
	// tells nobody. That it is unreachable at all they are told before.
	Silent time.Duration
}

// Fleet is every host and what was promised on it.
type Fleet struct {
	cfg  Config
	sink Sink
	// ctx is that of Run; sessions live in it.
	runs  sync.WaitGroup
	dials *dials

	mu       sync.RWMutex
	ctx      context.Context
	hosts    map[string]*session
	promises map[string]map[string]model.Reservation
	places   places

	version atomic.Int64
	wakeMu  sync.Mutex
	changed chan struct{}
}

// New returns a fleet without hosts; Run must be called for it to do anything.
func New(cfg Config) (*Fleet, error) {
	if cfg.Log == nil || cfg.Dial == nil || cfg.Note == nil || cfg.Now == nil || cfg.ClusterID == "" || cfg.Epoch < 1 {
		return nil, errors.New("fleet: Log, Dial, Note, Now, ClusterID and Epoch are required")
	}
	return &Fleet{
		cfg: cfg, hosts: map[string]*session{}, promises: map[string]map[string]model.Reservation{},
		dials: newDials(dialsAtOnce), changed: make(chan struct{}),
	}, nil
}

// SetSink says who hears of enclaves; before Run.
func (f *Fleet) SetSink(s Sink) { f.sink = s }

func (f *Fleet) fence() *agentv1.Fence {
	return &agentv1.Fence{ClusterId: f.cfg.ClusterID, Epoch: f.cfg.Epoch}
}

// Run follows every host until ctx ends, and returns when all sessions have
// ended.
func (f *Fleet) Run(ctx context.Context) error {
	f.mu.Lock()
	f.ctx = ctx
	for _, s := range f.hosts {
		f.launch(s)
	}
	f.mu.Unlock()
	<-ctx.Done()
	f.runs.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, s := range f.hosts {
		if s.conn != nil {
			errs = append(errs, s.conn.Close())
		}
	}
	return errors.Join(errs...)
}

// launch starts a session; f.mu is held.
func (f *Fleet) launch(s *session) {
	if f.ctx == nil || s.stop != nil || f.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(f.ctx)
	s.stop = cancel
	f.runs.Add(1)
	s.run(ctx, f.runs.Done)
}

// Add follows a host from now on; adding it again changes its record only.
func (f *Fleet) Add(h model.Host) error { return f.AddKnown(h, model.Machine{}) }

// AddKnown is Add for a host of whose machine something is known.
func (f *Fleet) AddKnown(h model.Host, m model.Machine) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.hosts[h.Name]; s != nil {
		s.update(func() { s.record = h })
		return nil
	}
	s := newSession(f, h, m)
	conn, err := f.cfg.Dial(h.Address)
	if err != nil {
		return fmt.Errorf("add host %s: %w", h.Name, err)
	}
	s.conn, s.version = conn, f.nextVersion()
	f.hosts[h.Name] = s
	f.places.touch(h.Name)
	f.launch(s)
	f.wake()
	return nil
}

// Remove forgets a host and waits until its session has ended.
func (f *Fleet) Remove(name string) error {
	f.mu.Lock()
	s := f.hosts[name]
	delete(f.hosts, name)
	f.places.touch(name)
	f.mu.Unlock()
	if s == nil {
		return nil
	}
	f.nextVersion()
	f.wake()
	if s.stop != nil {
		s.stop()
		<-s.done
	}
	return s.conn.Close()
}

func (f *Fleet) session(name string) (*session, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if s := f.hosts[name]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("host %s: %w", name, ErrUnknownHost)
}

// ErrUnknownHost says that there is no host of that name.
var ErrUnknownHost = errors.New("unknown host")

func (f *Fleet) nextVersion() int64 { return f.version.Add(1) }

// wake tells whoever waits on Changed.
func (f *Fleet) wake() {
	f.wakeMu.Lock()
	defer f.wakeMu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}

// Changed returns the present version of all that is known of hosts, and a
// channel that is closed when there is a newer one.
func (f *Fleet) Changed() (int64, <-chan struct{}) {
	f.wakeMu.Lock()
	defer f.wakeMu.Unlock()
	return f.version.Load(), f.changed
}

// observed hands the word of the agent of a host's incarnation on.
func (f *Fleet) observed(host, incarnation string, e *agentv1.Enclave) {
	if e.GetClusterId() != f.cfg.ClusterID {
		return
	}
	k := model.ContainerKey{Org: e.GetSpec().GetOrg(), Name: e.GetSpec().GetContainer()}
	if r, ok := f.promise(host, e.GetId()); ok {
		k = model.ContainerKey{Org: r.Org, Name: r.Container}
	}
	f.sink.Observed(k, Observation(host, incarnation, e))
}

func (f *Fleet) promise(host, enclave string) (model.Reservation, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	r, ok := f.promises[host][enclave]
	return r, ok
}

// Promises returns the reservations on a host, by enclave.
func (f *Fleet) Promises(host string) map[string]model.Reservation {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return maps.Clone(f.promises[host])
}

// synced tells of every promised enclave that the host, having told of all it
// has, did not mention, in the words of missing.
func (f *Fleet) synced(host string, missing model.Observation, have map[string]*agentv1.Enclave) {
	f.mu.RLock()
	var ids []string
	for id := range f.promises[host] {
		if have[id] == nil {
			ids = append(ids, id)
		}
	}
	f.mu.RUnlock()
	sort.Strings(ids)
	for _, id := range ids {
		f.absent(host, id, missing)
	}
}

// noticeAfter is how long a host may be unreachable until the containers there
// say so: longer than the restart of an agent takes.
const noticeAfter = 15 * time.Second

func (f *Fleet) notice() time.Duration {
	if f.cfg.Silent > 0 {
		return min(noticeAfter, f.cfg.Silent)
	}
	return noticeAfter
}

// silent tells of every enclave that was promised room on a host that does not
// answer.
func (f *Fleet) silent(host string, since time.Time, long bool) {
	f.mu.RLock()
	promised := slices.SortedFunc(maps.Values(f.promises[host]), func(a, b model.Reservation) int { return strings.Compare(a.Enclave, b.Enclave) })
	f.mu.RUnlock()
	for _, r := range promised {
		f.sink.Observed(model.ContainerKey{Org: r.Org, Name: r.Container},
			model.Observation{Enclave: r.Enclave, Host: host, State: model.EnclaveSilent, Since: since.UTC(), Long: long})
	}
}

// absent tells of a promised enclave that it is not there, in the words of o.
func (f *Fleet) absent(host, enclave string, o model.Observation) {
	r, ok := f.promise(host, enclave)
	if !ok {
		return
	}
	o.Enclave, o.Host, o.State = enclave, host, model.EnclaveAbsent
	f.sink.Observed(model.ContainerKey{Org: r.Org, Name: r.Container}, o)
}

// Names returns the hosts' names, sorted.
func (f *Fleet) Names() []string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	names := make([]string, 0, len(f.hosts))
	for name := range f.hosts {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
