package main

import (
	"context"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
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
	return s.follow(ctx, records.UpdatePrefix, from, func(key string, _ []byte) (bool, error) {
		seen[key] = true
		return len(seen) >= n, nil
	}, n)
}

// awaitEnded waits until so many containers that had an update in progress, at the
// revision or after it, have none any more, and calls each for every one. What else
// is written of containers does not count.
func (s *size) awaitEnded(ctx context.Context, from int64, n int, busy map[string]bool, each func()) error {
	ended := 0
	return s.follow(ctx, records.ContainerPrefix, from, func(key string, value []byte) (bool, error) {
		c, err := records.Containers.Decode(value)
		switch {
		case err != nil:
		case c.Update != "":
			busy[key] = true
		case busy[key]:
			delete(busy, key)
			ended++
			each()
		}
		return ended >= n, err
	}, n)
}

// busy are the containers that have an update in progress.
func busy(ctx context.Context, rec *records.Records) (map[string]bool, error) {
	items, _, err := records.List(ctx, rec, records.Containers, records.ContainerPrefix, store.ListOptions{})
	out := map[string]bool{}
	for _, item := range items {
		if item.Value.Update != "" {
			out[item.Key] = true
		}
	}
	return out, err
}

// follow hands every change under a prefix to each until that says it is done.
func (s *size) follow(ctx context.Context, prefix string, from int64, each func(key string, value []byte) (bool, error), n int) error {
	if n == 0 {
		return nil
	}
	w, err := s.store.Watch(ctx, prefix, from)
	if err != nil {
		return fmt.Errorf("watch %s: %w", prefix, err)
	}
	defer w.Close()
	for {
		batch, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("watch %s: %w", prefix, err)
		}
		for _, ev := range batch.Events {
			if done, err := each(ev.KV.Key, ev.KV.Value); done || err != nil {
				return err
			}
		}
	}
}
