package enclave

import (
	"context"
	"io"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// Backend boots and stops enclaves. Its methods may be called at the same time
// from several goroutines, also for the same id. Every error that has a cause an
// operator can act on is, or wraps, an [*Error].
type Backend interface {
	// Name is fake or containerd, as it stands in Host.backend.
	Name() string

	// Prepare fetches and verifies everything the spec needs that can be fetched
	// without claiming anything, and returns when it is here. Calling it again is
	// cheap. It never touches an enclave that exists. A failure carries a reason
	// such as [ReasonImageMissing].
	Prepare(ctx context.Context, spec *agentv1.EnclaveSpec) error

	// Start boots an enclave and returns when its VM process exists; it does not
	// wait for the guest. An id has one life: if an enclave with this id exists,
	// running or exited, Start changes nothing and returns nil if it was started
	// from the same instance, and [ErrExists] otherwise. Once Start was called,
	// the enclave belongs to the host: neither the end of ctx nor of this process
	// stops it. If Start returns an error, there may still be remains: List says.
	Start(ctx context.Context, in Instance) error

	// Get returns one enclave, or [ErrNotFound].
	Get(ctx context.Context, id string) (Observed, error)

	// List returns everything on this host that is, or looks like, an enclave of
	// this backend, by id: also what another cluster wants and what was damaged
	// (with [ReasonCorrupt]). It reads what the kernel and the disk say, not a
	// memory of earlier calls.
	List(ctx context.Context) ([]Observed, error)

	// Stop asks the guest to power off, kills it after the grace time, and returns
	// nil only when it is proved to be gone: nothing of it runs and its devices
	// are closed. A second Stop with a shorter grace cuts the first one's short.
	// Stopping an exited enclave returns nil; an unknown one, [ErrNotFound]. If
	// ctx ends first its error is returned, and the stop goes on until the kill.
	Stop(ctx context.Context, id string, grace time.Duration) error

	// Remove forgets what is left of an exited enclave, its console too. A running
	// one gives [ErrRunning]; an unknown one is nil.
	Remove(ctx context.Context, id string) error

	// Console reads what the guest wrote: untrusted bytes, of which the newest are
	// kept. With Follow, reads wait for more and end with io.EOF once the enclave
	// is gone; closing the reader or ending ctx ends them too. [ErrNotFound] for an
	// unknown id.
	Console(ctx context.Context, id string, opts ConsoleOptions) (io.ReadCloser, error)

	// Watch tells of changes until ctx ends, and then closes the channel. First
	// comes an event for every enclave that exists, so that no change between a
	// List and a Watch is lost; later one after each start, endpoint, exit and
	// removal. Events of one id that the reader has not taken are merged: a slow
	// reader loses no change, and delays nobody.
	Watch(ctx context.Context) (<-chan Event, error)
}

// Instance is what Start boots.
type Instance struct {
	// ID is chosen by the coordinator; see [CheckID].
	ID string
	// Spec decides what runs. Its platform part names the cluster.
	Spec *agentv1.EnclaveSpec
	// GPUs are the PCI addresses of the claimed GPUs and nothing else: as many as
	// the spec says.
	GPUs []string
}

// Phase is how far an enclave's VM is; boot stages are the guest's to tell.
type Phase string

// The phases.
const (
	// PhaseRunning: the VM's process exists.
	PhaseRunning Phase = "running"
	// PhaseExited: nothing of it runs; its devices are closed.
	PhaseExited Phase = "exited"
)

// Observed is an enclave as the host has it.
type Observed struct {
	// ID is the enclave's id.
	ID string
	// ClusterID is the cluster that wanted it; empty if its record is damaged.
	ClusterID string
	// Spec is what it was started from; nil if its record is damaged.
	Spec *agentv1.EnclaveSpec
	// SpecDigest is [SpecDigest] of Spec; empty if its record is damaged.
	SpecDigest string
	// GPUs are the PCI addresses it was given.
	GPUs []string
	// Phase is running or exited.
	Phase Phase
	// Endpoint is host:port where the guest listens; empty until it does.
	Endpoint string
	// StartTime is when it was started.
	StartTime time.Time
	// Exit says how it ended; zero while it runs.
	Exit Exit
	// Reason and Text say what is wrong with the record, with what to do: empty,
	// or ReasonCorrupt.
	Reason, Text string
}

// Exit is how an enclave ended.
type Exit struct {
	// Reason is ReasonPoweredOff, ReasonKilled, ReasonDied, ReasonBootFailed, …
	Reason string
	// Text says the same in words.
	Text string
	// Time is when it ended, or when that was noticed.
	Time time.Time
}

// Event says that something about an enclave has changed. It carries no state,
// so that it can't be out of date: ask Get.
type Event struct {
	// ID is the enclave's id.
	ID string
}

// ConsoleOptions say what Console reads.
type ConsoleOptions struct {
	// Follow goes on with what is written from now on.
	Follow bool
	// TailLines is how many of the last lines come first; 0 means all that is kept.
	TailLines int
}
