package fake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/faults"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
	"github.com/casemate-dev/casemate/pkg/release"
)

// Prepare implements enclave.Backend. The config is read, and the faults that
// concern preparing take effect; there is nothing to fetch.
func (b *Backend) Prepare(ctx context.Context, spec *agentv1.EnclaveSpec) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cfg, _, err := release.Parse(spec.GetConfigName(), spec.GetConfig())
	if err != nil {
		return &enclave.Error{Reason: enclave.ReasonInvalidSpec, Text: "the config file is refused: mend it and make a new release", Err: err}
	}
	f, err := faults.Of(cfg, b.cfg.Faults[spec.GetContainer()])
	if err != nil {
		return &enclave.Error{Reason: enclave.ReasonInvalidSpec, Text: "the config's simulated faults can't be read", Err: err}
	}
	switch f.Kind {
	case faults.ImageMissing:
		return &enclave.Error{Reason: enclave.ReasonImageMissing, Text: "image " + cfg.Containers[0].Image +
			" is not in its registry (simulated): push it, or correct the digest"}
	case faults.PrepareFails:
		return &enclave.Error{Reason: enclave.ReasonPrepareFailed, Text: "the CVM image can't be verified (simulated): try again"}
	}
	return b.checkGuest()
}

// checkGuest looks whether there is a guest to run.
func (b *Backend) checkGuest() error {
	if b.cfg.InProcess != nil {
		return nil
	}
	info, err := os.Stat(b.cfg.GuestPath)
	if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0) {
		err = errors.New("not an executable file")
	}
	if err != nil {
		return &enclave.Error{Reason: enclave.ReasonPrepareFailed,
			Text: "the guest's binary " + b.cfg.GuestPath + " can't be run: set its path in the agent's configuration", Err: err}
	}
	return nil
}

// Start implements enclave.Backend.
func (b *Backend) Start(ctx context.Context, in enclave.Instance) error {
	if err := in.Check(); err != nil {
		return err
	}
	if err := b.Prepare(ctx, in.Spec); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return enclave.ErrClosed
	}
	started, err := b.alreadyStarted(in)
	if err != nil || started {
		return err
	}
	if err := b.writeFolder(in); err != nil {
		return &enclave.Error{Reason: enclave.ReasonStartFailed, Text: "the enclave's folder can't be written: look at the host's disk", Err: err}
	}
	if err := b.launch(in.ID); err != nil {
		failure := &enclave.Error{Reason: enclave.ReasonStartFailed, Text: "the guest's process could not be started", Err: err}
		exit := enclave.Exit{Reason: failure.Reason, Text: failure.Error(), Time: b.cfg.Now()}
		b.hub.notify(in.ID)
		return errors.Join(failure, b.dirOf(in.ID).WriteExit(exit))
	}
	b.hub.notify(in.ID)
	return nil
}

// alreadyStarted says whether the id has begun its life with this instance. One
// that was only recorded has not. The caller holds mu.
func (b *Backend) alreadyStarted(in enclave.Instance) (bool, error) {
	there, err := b.exists(in.ID)
	if err != nil || !there {
		return false, err
	}
	record, _, err := b.dirOf(in.ID).ReadRecord()
	if err != nil {
		return false, &enclave.Error{Reason: enclave.ReasonCorrupt,
			Text: "an enclave with this id has a damaged record: delete it, or use another id", Err: errors.Join(enclave.ErrExists, err)}
	}
	digest, err := enclave.SpecDigest(in.Spec)
	if err != nil {
		return false, err
	}
	if record.SpecSHA256 != digest || !slices.Equal(record.GPUs, in.GPUs) {
		return false, fmt.Errorf("enclave %s: %w", in.ID, enclave.ErrExists)
	}
	running, err := b.runsLocked(in.ID)
	if err != nil || running {
		return running, err
	}
	return exitOf(b.dirOf(in.ID)).Reason != enclave.ReasonNeverStarted, nil
}

// writeFolder makes the enclave's folder in one step, whole or not at all.
func (b *Backend) writeFolder(in enclave.Instance) error {
	spec, err := enclave.EncodeSpec(in.Spec)
	if err != nil {
		return err
	}
	fresh := filepath.Join(b.cfg.Dir, ".new-"+in.ID)
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(string(b.dirOf(in.ID)))); err != nil {
		return fmt.Errorf("clear the place: %w", err)
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if err := b.writeMachine(guestdir.Dir(fresh), in); err != nil {
		return err
	}
	record := guestdir.Record{
		ID: in.ID, GPUs: in.GPUs, ListenHost: b.cfg.ListenHost, StartTime: b.cfg.Now().UTC().Truncate(time.Microsecond),
		Settings: b.cfg.Faults[in.Spec.GetContainer()],
	}
	if err := guestdir.Dir(fresh).WriteRecord(record, spec); err != nil {
		return err
	}
	if err := os.Rename(fresh, string(b.dirOf(in.ID))); err != nil {
		return fmt.Errorf("put the folder in its place: %w", err)
	}
	return syncDir(b.cfg.Dir)
}

func (b *Backend) writeMachine(dir guestdir.Dir, in enclave.Instance) error {
	if b.cfg.Machine == nil {
		return nil
	}
	machine, err := b.cfg.Machine(in)
	if err != nil {
		return fmt.Errorf("make the machine: %w", err)
	}
	return dir.WriteMachine(machine)
}

func syncDir(dir string) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("make the folder durable: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}

// launch starts the guest of a folder. The caller holds mu.
func (b *Backend) launch(id string) (err error) {
	dir := b.dirOf(id)
	if err := b.files.Add(string(dir)); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	lock, err := takeLock(dir.Path(guestdir.LockFile))
	if err != nil {
		return err
	}
	if b.cfg.InProcess != nil {
		b.track(id, startThread(b.cfg.InProcess, dir, lock))
		return nil
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // the guest has its own copy
	life, err := spawn(b.cfg.GuestPath, dir, lock)
	if err != nil {
		return err
	}
	b.cfg.Log.Info("enclave started", "enclave", id)
	b.track(id, life)
	return nil
}
