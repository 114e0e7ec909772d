package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
	"github.com/casemate-dev/casemate/internal/store/sqlite"
)

// size is one size being measured.
type size struct {
	options
	layout layout
	store  store.Store
	hosts  *simulation
	c      *coordinator
	// nextPick numbers what load picks containers by.
	nextPick int
	r        result
}

// runSize measures one size and prints the result as JSON.
func runSize(ctx context.Context, o options) (retErr error) {
	dir, err := os.MkdirTemp("", "casemate-load-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { retErr = errors.Join(retErr, os.RemoveAll(dir)) }()
	s := &size{options: o, layout: o.layout(o.sizes[0])}
	s.r = result{Hosts: s.layout.hosts, Containers: s.layout.containers(), Store: o.store}
	if s.store, err = openStore(ctx, o.store, dir); err != nil {
		return err
	}
	defer func() { retErr = errors.Join(retErr, s.store.Close()) }()
	if s.hosts, err = simulate(ctx, o, filepath.Join(dir, "hosts.sock")); err != nil {
		return err
	}
	defer func() { retErr = errors.Join(retErr, s.hosts.stop()) }()
	if s.r.Load[0], err = loadAverage(); err != nil {
		return err
	}
	if err := s.measure(ctx); err != nil {
		return err
	}
	if s.r.Load[1], err = loadAverage(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s.r)
}

func openStore(ctx context.Context, kind, dir string) (store.Store, error) {
	if kind == "memory" {
		return memory.New(memory.Config{}), nil
	}
	return sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "store.db")})
}

func (s *size) measure(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"hosts", s.measureHosts},
		{"recovery", s.measureRecovery},
		{"plans", s.measurePlans},
		{"in-flight", s.measureInFlight},
		{"rate", s.measureRate},
		{"end", s.finish},
	} {
		if err := s.profiled(step.name, func() error { return step.do(ctx) }); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// profiled writes profiles of a step, if they are wanted.
func (s *size) profiled(name string, do func() error) error {
	if s.profile == "" {
		return do()
	}
	f, err := os.Create(fmt.Sprintf("%s-%d-%s.cpu", s.profile, s.layout.hosts, name))
	if err != nil {
		return fmt.Errorf("write a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	err = do()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}

func (s *size) heapProfile(name string) error {
	if s.profile == "" {
		return nil
	}
	for _, kind := range []string{"heap", "goroutine"} {
		f, err := os.Create(fmt.Sprintf("%s-%d-%s.%s", s.profile, s.layout.hosts, name, kind))
		if err != nil {
			return fmt.Errorf("write a profile: %w", err)
		}
		if err := errors.Join(pprof.Lookup(kind).WriteTo(f, 0), f.Close()); err != nil {
			return fmt.Errorf("write a profile: %w", err)
		}
	}
	return nil
}

// measureHosts follows hosts on which nothing runs.
func (s *size) measureHosts(ctx context.Context) error {
	rec, err := records.Open(ctx, s.store, func() string { return clusterID })
	if err != nil {
		return err
	}
	if err := seedHosts(ctx, rec, s.layout); err != nil {
		return err
	}
	before, err := measureMemory()
	if err != nil {
		return err
	}
	began := time.Now()
	if s.c, err = start(ctx, s.store, s.hosts.socket); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	s.r.Connected = time.Since(began)
	if err := s.awaitQuiet(ctx); err != nil {
		return err
	}
	after, err := measureMemory()
	if err != nil {
		return err
	}
	s.r.HostBytes = (after.resident - before.resident) / float64(s.layout.hosts)
	s.r.HostLive = (after.live - before.live) / float64(s.layout.hosts)
	return errors.Join(s.heapProfile("hosts"), s.c.end())
}

// measureRecovery starts a coordinator whose store has every container, with
// updates in the middle.
func (s *size) measureRecovery(ctx context.Context) error {
	rec, err := records.Open(ctx, s.store, func() string { return clusterID })
	if err != nil {
		return err
	}
	empty, err := measureMemory()
	if err != nil {
		return err
	}
	s.r.Unfinished = min(s.inFlight, s.layout.containers()/2)
	began := time.Now()
	if err := seedContainers(ctx, rec, s.layout, s.r.Unfinished); err != nil {
		return err
	}
	s.r.Seeded = time.Since(began)
	if _, err := s.hosts.tell("full"); err != nil {
		return err
	}
	before, err := measureMemory()
	if err != nil {
		return err
	}
	if err := s.recover(ctx, rec); err != nil {
		return err
	}
	if err := s.awaitQuiet(ctx); err != nil {
		return err
	}
	after, err := measureMemory()
	if err != nil {
		return err
	}
	n := float64(s.layout.containers())
	s.r.RecordBytes = (before.resident - empty.resident) / n
	s.r.ContainerBytes = (after.resident - before.resident - s.r.HostBytes*float64(s.layout.hosts)) / n
	s.r.ContainerLive = (after.live - before.live - s.r.HostLive*float64(s.layout.hosts)) / n
	return errors.Join(s.heapProfile("recovered"), s.idle(ctx))
}

// recover starts the coordinator and times it until it has caught up.
func (s *size) recover(ctx context.Context, rec *records.Records) error {
	before, err := endsNow(ctx, rec)
	if err != nil {
		return err
	}
	from, err := s.store.Revision(ctx)
	if err != nil {
		return err
	}
	resumed, ended := make(chan error, 1), make(chan error, 1)
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	began, used := time.Now(), cpuTime()
	go func() {
		err := s.awaitTouched(watching, from, s.r.Unfinished)
		s.r.Resumed = time.Since(began)
		resumed <- err
	}()
	go func() { ended <- s.awaitEnded(watching, from, s.r.Unfinished, before, func() {}) }()
	if s.c, err = start(ctx, s.store, s.hosts.socket); err != nil {
		cancel()
		return errors.Join(err, <-resumed, <-ended)
	}
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	s.r.Ready = time.Since(began)
	if err := <-resumed; err != nil {
		return err
	}
	s.r.Recovered = max(s.r.Ready, s.r.Resumed)
	if err := <-ended; err != nil {
		return err
	}
	if err := s.awaitQuiet(ctx); err != nil {
		return err
	}
	s.r.Quiet, s.r.RecoveredCPU = time.Since(began), cpuTime()-used
	until, err := s.store.Revision(ctx)
	s.r.RecoveredCommits = until - from
	return err
}

// idle measures what the coordinator uses when nothing happens, for longer than
// the keepalive of connections and the reaper's passes.
func (s *size) idle(ctx context.Context) error {
	const length = 35 * time.Second
	used := cpuTime()
	if err := pause(ctx, length); err != nil {
		return err
	}
	s.r.IdleCPU = float64(cpuTime()-used) / float64(length)
	return nil
}

func (s *size) finish(context.Context) (err error) {
	if s.r.PeakBytes, err = statusBytes("VmHWM:"); err != nil {
		return err
	}
	return s.c.end()
}
