// Package rejudge has the evidence of enclaves that serve judged again: at intervals,
// and when an agent says that it would refuse it. The agent's word only makes the
// coordinator look; what it then finds itself is what counts.
package rejudge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// Bounds: how many enclaves are asked at a time, of those told of and of those due, how
// long one may take, how many agents' words wait, and how often it is looked who is due.
const (
	atOnce   = 2
	deadline = 45 * time.Second
	waiting  = 256
	look     = 30 * time.Second
)

// Config describes a Rejudger.
type Config struct {
	Log *slog.Logger
	// Serving lists the enclaves that serve, by container.
	Serving func(ctx context.Context) (map[model.ContainerKey]string, error)
	// Judge judges the enclave of a container and sees to what follows.
	Judge func(ctx context.Context, k model.ContainerKey) error
	// Every is between two judgements of an enclave.
	Every time.Duration
	Now   func() time.Time
	// Chance returns a number from 0 to 1; nil means a random one.
	Chance func() float64
	// Look is between two looks at who is due; 0 means 30 seconds, or Every if that
	// is less.
	Look time.Duration
}

// Rejudger judges again. One Run at a time.
type Rejudger struct {
	cfg  Config
	asks chan model.ContainerKey
	due  map[string]time.Time // by enclave
}

// New returns a Rejudger.
func New(cfg Config) (*Rejudger, error) {
	if cfg.Log == nil || cfg.Serving == nil || cfg.Judge == nil || cfg.Now == nil || cfg.Every <= 0 {
		return nil, errors.New("rejudge: every part of Config but Chance and Look is required")
	}
	if cfg.Chance == nil {
		cfg.Chance = rand.Float64
	}
	if cfg.Look == 0 {
		cfg.Look = min(look, cfg.Every)
	}
	return &Rejudger{cfg: cfg, asks: make(chan model.ContainerKey, waiting), due: map[string]time.Time{}}, nil
}

// Ask has a container's enclave judged soon. It does not block; what is too much is
// left to the intervals.
func (j *Rejudger) Ask(k model.ContainerKey) {
	select {
	case j.asks <- k:
	default:
	}
}

// Run judges until ctx ends. Those of which an agent has told something don't wait for
// those whose time has come: enclaves that never answer would hold them up.
func (j *Rejudger) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { j.judgeAsked(ctx) })
	loops.Go(func() { j.judgeDue(ctx) })
	loops.Wait()
	return nil
}

func (j *Rejudger) judgeAsked(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case k := <-j.asks:
			j.judge(ctx, j.withWaiting(k))
		}
	}
}

func (j *Rejudger) judgeDue(ctx context.Context) {
	ticker := time.NewTicker(j.cfg.Look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			serving, err := j.cfg.Serving(ctx)
			if err != nil {
				j.cfg.Log.Warn("list the enclaves that serve", "error", err)
				continue
			}
			j.judge(ctx, j.Due(serving))
		}
	}
}

// withWaiting takes all that was asked by now, each once.
func (j *Rejudger) withWaiting(k model.ContainerKey) []model.ContainerKey {
	out, seen := []model.ContainerKey{k}, map[model.ContainerKey]bool{k: true}
	for {
		select {
		case k := <-j.asks:
			if !seen[k] {
				out, seen[k] = append(out, k), true
			}
		default:
			return out
		}
	}
}

// Due returns the containers whose enclaves are due now, and says when they are due
// next. An enclave that is new here, as all are after a restart, has its first turn
// at some time within the interval, so that they don't come all at once; later ones
// are up to a tenth early or late.
func (j *Rejudger) Due(serving map[model.ContainerKey]string) []model.ContainerKey {
	now := j.cfg.Now()
	next := make(map[string]time.Time, len(serving))
	var out []model.ContainerKey
	for k, enclave := range serving {
		at, known := j.due[enclave]
		switch {
		case !known:
			at = now.Add(time.Duration(j.cfg.Chance() * float64(j.cfg.Every)))
		case !now.Before(at):
			out = append(out, k)
			at = now.Add(time.Duration((0.9 + 0.2*j.cfg.Chance()) * float64(j.cfg.Every)))
		}
		next[enclave] = at
	}
	j.due = next
	return out
}

func (j *Rejudger) judge(ctx context.Context, containers []model.ContainerKey) {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, k := range containers {
		g.Go(func() error {
			bounded, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			if err := j.cfg.Judge(bounded, k); err != nil && ctx.Err() == nil {
				j.cfg.Log.Warn("judge an enclave again", "container", k.String(), "error", fmt.Sprint(err))
			}
			return nil
		})
	}
	_ = g.Wait() // none returns an error
}
