package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Source tells a gateway of its routes.
type Source interface {
	// Watch connects, calls apply with each batch in the order they were sent, one
	// at a time, and sends each acknowledgement that apply returns. If apply
	// fails, nothing is acknowledged and Watch returns its error, wrapped. It
	// returns when the connection is lost or the context ends; the gateway calls
	// it again after a pause.
	Watch(ctx context.Context, apply func(context.Context, Batch) (Ack, error)) error
}

// follow keeps the table in step with the source until the context ends.
func (s *Server) follow(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = s.cfg.SourceBackoff.Initial
	wait.MaxInterval = s.cfg.SourceBackoff.Max
	wait.Reset()
	for ctx.Err() == nil {
		err := s.cfg.Source.Watch(ctx, func(ctx context.Context, b Batch) (Ack, error) {
			ack, err := s.cfg.Routes.Apply(ctx, b)
			if err != nil {
				s.metrics.batches.WithLabelValues(batchResult(err)).Inc()
				return Ack{}, err
			}
			s.metrics.batches.WithLabelValues("applied").Inc()
			s.metrics.connected.Set(1)
			wait.Reset()
			return ack, nil
		})
		s.metrics.connected.Set(0)
		if ctx.Err() != nil {
			return
		}
		pause := wait.NextBackOff()
		s.log.Warn("route source lost; serving on with the routes held",
			"error", sourceError(err), "routes", s.cfg.Routes.Table().Len(), "retry_in", pause)
		sleep(ctx, pause)
	}
}

func sourceError(err error) error {
	if err == nil {
		return errors.New("the source ended the stream")
	}
	return fmt.Errorf("watch routes: %w", err)
}

func batchResult(err error) string {
	switch {
	case errors.Is(err, ErrForeignCluster):
		return "foreign_cluster"
	case errors.Is(err, ErrStaleEpoch):
		return "stale_epoch"
	default:
		return "failed"
	}
}

// sleep waits for the time, or the context's end.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
