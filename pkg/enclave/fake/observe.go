package fake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
)

// Get implements enclave.Backend.
func (b *Backend) Get(ctx context.Context, id string) (enclave.Observed, error) {
	if err := ctx.Err(); err != nil {
		return enclave.Observed{}, err
	}
	there, err := b.exists(id)
	if err != nil {
		return enclave.Observed{}, err
	}
	if !there {
		return enclave.Observed{}, fmt.Errorf("enclave %s: %w", id, enclave.ErrNotFound)
	}
	return b.observe(id)
}

// List implements enclave.Backend.
func (b *Backend) List(ctx context.Context) ([]enclave.Observed, error) {
	ids, err := b.ids()
	if err != nil {
		return nil, err
	}
	all := make([]enclave.Observed, 0, len(ids))
	for _, id := range ids {
		o, err := b.Get(ctx, id)
		if errors.Is(err, enclave.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// observe reads what disk and kernel say of an enclave.
func (b *Backend) observe(id string) (enclave.Observed, error) {
	dir := b.dirOf(id)
	o := enclave.Observed{ID: id, Phase: enclave.PhaseExited}
	running, err := b.runs(id)
	if err != nil {
		return o, fmt.Errorf("enclave %s: %w", id, err)
	}
	record, spec, err := dir.ReadRecord()
	if err != nil {
		corrupt(&o, err)
	} else {
		o.ClusterID, o.Spec, o.SpecDigest = spec.GetPlatform().GetClusterId(), spec, record.SpecSHA256
		o.GPUs, o.StartTime = record.GPUs, record.StartTime
	}
	if !running {
		o.Exit = exitOf(dir)
		return o, nil
	}
	o.Phase = enclave.PhaseRunning
	if o.Endpoint, err = dir.ReadEndpoint(); err != nil {
		corrupt(&o, err)
	}
	return o, nil
}

func corrupt(o *enclave.Observed, err error) {
	o.Reason = enclave.ReasonCorrupt
	o.Text = fmt.Sprintf("its record on this host is damaged: stop and delete it (%v)", err)
}

// exitOf is how an enclave ended, as far as anybody wrote it down.
func exitOf(dir guestdir.Dir) enclave.Exit {
	exit, err := dir.ReadExit()
	if err == nil {
		return exit
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return enclave.Exit{Reason: enclave.ReasonCorrupt, Text: fmt.Sprintf("the record of its end is damaged: %v", err)}
	}
	info, err := os.Lstat(dir.Path(guestdir.ConsoleFile))
	if errors.Is(err, fs.ErrNotExist) {
		return enclave.Exit{Reason: enclave.ReasonNeverStarted, Text: "the host was interrupted before it was started"}
	}
	exit = enclave.Exit{Reason: enclave.ReasonDied, Text: "its process ended while the agent was not running"}
	if err == nil {
		exit.Time = info.ModTime()
	}
	return exit
}

// runs says whether anything of the enclave runs. One that is tracked runs until
// its end is recorded.
func (b *Backend) runs(id string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runsLocked(id)
}

func (b *Backend) runsLocked(id string) (bool, error) {
	if b.tracked[id] != nil {
		return true, nil
	}
	return lockHeld(b.dirOf(id).Path(guestdir.LockFile))
}

// Watch implements enclave.Backend.
func (b *Backend) Watch(ctx context.Context) (<-chan enclave.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, enclave.ErrClosed
	}
	w := b.hub.watch()
	ids, err := b.ids()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		w.add(id)
	}
	out := make(chan enclave.Event)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.life, cancel)
	b.routines.Go(func() {
		defer cancel()
		defer stop()
		b.hub.deliver(ctx, w, out)
	})
	return out, nil
}
