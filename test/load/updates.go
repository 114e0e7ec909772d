package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// callers is how many calls the load makes at a time.
const callers = 16

// newTag is a tag that no container has run.
const newTag = "v2.0.0"

// pick returns the next container of a walk over all of them that visits each
// once before it visits one again, and not in order: 7919 is a prime.
func (s *size) pick() int {
	s.nextPick++
	return s.nextPick * 7919 % s.layout.containers()
}

var tagOnly = &fieldmaskpb.FieldMask{Paths: []string{"tag"}}

func (s *size) plan(ctx context.Context, c int) (time.Duration, error) {
	k := s.layout.key(c)
	began := time.Now()
	_, err := cv1.NewUpdateServiceClient(s.c.conn).PlanUpdate(ctx, &cv1.PlanUpdateRequest{
		Org: k.Org, Container: k.Name, Spec: &cv1.ContainerSpec{Tag: newTag}, UpdateMask: tagOnly,
	})
	return time.Since(began), err
}

// reckon times a piece of work of about a millisecond, again and again.
func reckon() latencies {
	var took []time.Duration
	data := make([]byte, 1<<20)
	for range 300 {
		began := time.Now()
		_ = sha256.Sum256(data)
		took = append(took, time.Since(began))
	}
	return summarize(took)
}

// measurePlans plans one update after the other.
func (s *size) measurePlans(ctx context.Context) error {
	s.r.Machine = reckon()
	used := cpuTime()
	defer func() { s.r.PlanCPU = (cpuTime() - used) / time.Duration(s.plans) }()
	var took []time.Duration
	for range s.plans {
		d, err := s.plan(ctx, s.pick())
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	s.r.Plan = summarize(took)
	return nil
}

// update starts an update of a container to a tag it does not run.
func (s *size) update(ctx context.Context, c int, tag string) (string, error) {
	k := s.layout.key(c)
	resp, err := cv1.NewUpdateServiceClient(s.c.conn).StartUpdate(ctx, &cv1.StartUpdateRequest{
		Org: k.Org, Container: k.Name, Spec: &cv1.ContainerSpec{Tag: tag}, UpdateMask: tagOnly,
	})
	if err != nil {
		return "", fmt.Errorf("update %s: %w", k, err)
	}
	return resp.GetUpdate().GetId(), nil
}

// started is an update of the load's own.
type started struct {
	container int
	id        string
}

// measureInFlight has many updates at the same step at one moment and then lets
// them all go on.
func (s *size) measureInFlight(ctx context.Context) error {
	n := min(s.inFlight, s.layout.containers()/2)
	if _, err := s.hosts.tell("hold"); err != nil {
		return err
	}
	created, err := s.created()
	if err != nil {
		return err
	}
	before, err := endsNow(ctx, s.c.records)
	if err != nil {
		return err
	}
	from, err := s.store.Revision(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	all, err := s.startMany(ctx, n)
	if err != nil {
		return err
	}
	if err := s.awaitCreated(ctx, created+n); err != nil {
		return err
	}
	s.r.InFlight.Started = time.Since(began)
	if s.r.InFlight.Held, err = s.inProgress(ctx); err != nil {
		return err
	}
	began = time.Now()
	if _, err := s.hosts.tell("release"); err != nil {
		return err
	}
	if err := s.awaitEnded(ctx, from, n, before, func() {}); err != nil {
		return err
	}
	s.r.InFlight.Ended = time.Since(began)
	return s.judge(ctx, all)
}

func (s *size) startMany(ctx context.Context, n int) ([]started, error) {
	all := make([]started, n)
	for i := range all {
		all[i].container = s.pick()
	}
	err := together(ctx, callers, n, func(ctx context.Context, i int) (err error) {
		all[i].id, err = s.update(ctx, all[i].container, newTag)
		return err
	})
	return all, err
}

func (s *size) created() (int, error) {
	text, err := s.hosts.tell("created")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

func (s *size) awaitCreated(ctx context.Context, n int) error {
	for {
		created, err := s.created()
		if err != nil || created >= n {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d enclaves were created: %w", created, n, err)
		}
	}
}

// inProgress counts the containers that have an update in progress.
func (s *size) inProgress(ctx context.Context) (int, error) {
	items, err := containers(ctx, s.c.records)
	n := 0
	for _, item := range items {
		if item.Value.Update != "" {
			n++
		}
	}
	return n, err
}

// judge looks at how the updates ended, and how near to its deadline any step
// of any of them came.
func (s *size) judge(ctx context.Context, all []started) error {
	f := &s.r.InFlight
	f.Updates = len(all)
	for _, u := range all {
		item, err := s.c.records.Update(ctx, s.layout.key(u.container), u.id)
		if err != nil {
			return err
		}
		switch v := item.Value; {
		case v.Status == model.Succeeded:
			f.Succeeded++
		case strings.HasSuffix(v.Reason, "_TIMEOUT"):
			f.Missed++
		}
		for _, h := range item.Value.History {
			if limit := limitOf(h.Step); limit > 0 && !h.Left.IsZero() {
				f.Nearest = max(f.Nearest, float64(h.Left.Sub(h.Entered))/float64(limit))
			}
		}
	}
	return nil
}

// limitOf is the time that a step has by default; 0 if it is not timed.
func limitOf(step model.Step) time.Duration {
	l := engine.DefaultLimits()
	switch step {
	case model.StepReserve, model.StepPrepare, model.StepBoot:
		return l.Pending
	case model.StepAttest, model.StepHealth:
		return l.Started
	case model.StepSwitch:
		return l.Ack
	case model.StepDrain:
		return l.Drain
	case model.StepStopOld:
		return l.Stop
	}
	return 0
}

// measureRate carries out updates, as many in flight as allowed, and plans
// others all the while.
func (s *size) measureRate(ctx context.Context) error {
	inFlight := min(s.inFlight, s.layout.containers()/2)
	n := min(s.updates, s.layout.containers()/2)
	before, err := endsNow(ctx, s.c.records)
	if err != nil {
		return err
	}
	from, err := s.store.Revision(ctx)
	if err != nil {
		return err
	}
	planning, stop := context.WithCancel(ctx)
	busy := make(chan error, 1)
	go func() { busy <- s.planWhile(planning) }()
	began, used := time.Now(), cpuTime()
	slots := make(chan struct{}, inFlight)
	ended := make(chan error, 1)
	go func() { ended <- s.awaitEnded(ctx, from, n, before, func() { <-slots }) }()
	picks := make([]int, n)
	for i := range picks {
		picks[i] = s.pick()
	}
	err = together(ctx, callers, n, func(ctx context.Context, i int) error {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		_, err := s.update(ctx, picks[i], "v2.1.0")
		return err
	})
	if err == nil {
		err = <-ended
	}
	took := time.Since(began)
	used = cpuTime() - used
	stop()
	if busyErr := <-busy; err == nil {
		err = busyErr
	}
	s.r.Rate = rate{Updates: n, PerSecond: float64(n) / took.Seconds(), CPU: used / time.Duration(n)}
	return err
}

// planWhile plans one update after the other until ctx ends.
func (s *size) planWhile(ctx context.Context) error {
	var took []time.Duration
	walk := sync.OnceValue(func() int { return s.layout.containers() / 3 })()
	for i := 0; ctx.Err() == nil; i++ {
		d, err := s.plan(ctx, (walk+i)%s.layout.containers())
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	s.r.BusyPlan = summarize(took)
	return nil
}
