package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

// pause waits for a time that is part of what is measured.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("paused: %w", ctx.Err())
	}
}

// awaitReady waits until every host is ready. It looks at those only that were
// not ready before, and 20 times a second, to cost little.
func (s *size) awaitReady(ctx context.Context) error {
	waiting := s.c.fleet.Names()
	for len(waiting) > 0 {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%d hosts, such as %s, are not ready: %w", len(waiting), waiting[0], err)
		}
		var left []string
		for _, name := range waiting {
			if v, err := s.c.fleet.View(name); err != nil || v.Status != fleet.Ready {
				left = append(left, name)
			}
		}
		waiting = left
	}
	return nil
}

// quietShare is the share of one CPU below which the process counts as quiet:
// above what the keepalives of 10,000 connections take.
const quietShare = 0.25

// awaitQuiet waits until the process works off nothing any more.
func (s *size) awaitQuiet(ctx context.Context) error {
	const window = 500 * time.Millisecond
	for {
		used := cpuTime()
		if err := pause(ctx, window); err != nil {
			return err
		}
		if float64(cpuTime()-used) < quietShare*float64(window) {
			return nil
		}
	}
}

// awaitTouched waits until so many updates have been written after a revision.
func (s *size) awaitTouched(ctx context.Context, from int64, n int) error {
	seen := map[string]bool{}
	return s.follow(ctx, records.UpdatePrefix, from, n, func(kv store.KV) (bool, error) {
		if kv.ModRevision > from {
			seen[kv.Key] = true
		}
		return len(seen) >= n, nil
	})
}

// ends counts the updates that have ended, by container.
type ends map[string]int64

// containers are all there are.
func containers(ctx context.Context, rec *records.Records) ([]records.Item[model.Container], error) {
	items, _, err := records.List(ctx, rec, records.Containers, records.ContainerPrefix, store.ListOptions{})
	return items, err
}

// endsNow counts those that have ended by now.
func endsNow(ctx context.Context, rec *records.Records) (ends, error) {
	items, err := containers(ctx, rec)
	out := ends{}
	for _, item := range items {
		out[item.Key] = ended(&item.Value)
	}
	return out, err
}

func ended(c *model.Container) int64 {
	if c.Update != "" {
		return c.Updates - 1
	}
	return c.Updates
}

// awaitEnded waits until so many updates have ended since they were counted, at the
// revision or before it, and calls each for every one.
func (s *size) awaitEnded(ctx context.Context, from int64, n int, before ends, each func()) error {
	count := 0
	return s.follow(ctx, records.ContainerPrefix, from, n, func(kv store.KV) (bool, error) {
		c, err := records.Containers.Decode(kv.Value)
		if err != nil {
			return false, err
		}
		for now := ended(&c); before[kv.Key] < now; before[kv.Key]++ {
			count++
			each()
		}
		return count >= n, nil
	})
}

// errDone ends what is followed.
var errDone = errors.New("done")

// follow hands every record under a prefix that changes after a revision to each
// until that says it is done; at once if n is 0. If it falls behind the history that
// the store keeps it goes on with the records as they are.
func (s *size) follow(ctx context.Context, prefix string, from int64, n int, each func(store.KV) (bool, error)) error {
	take := func(kv store.KV) error {
		done, err := each(kv)
		if done {
			return errDone
		}
		return err
	}
	err := errDone
	if n > 0 {
		err = store.Follow(ctx, s.store, prefix, from, func(ev store.Event) error { return take(ev.KV) })
	}
	for errors.Is(err, store.ErrSlowReader) || errors.Is(err, store.ErrCompacted) {
		if from, err = s.list(ctx, prefix, take); err == nil {
			err = store.Follow(ctx, s.store, prefix, from, func(ev store.Event) error { return take(ev.KV) })
		}
	}
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// list hands every record under a prefix to take, and returns their revision.
func (s *size) list(ctx context.Context, prefix string, take func(store.KV) error) (int64, error) {
	all, err := s.store.List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return 0, err
	}
	for _, kv := range all.KVs {
		if err := take(kv); err != nil {
			return 0, err
		}
	}
	return all.Revision, nil
}
