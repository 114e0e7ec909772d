package store

import (
	"context"
	"fmt"
)

// Follow hands every change of keys under a prefix after a revision to take, until
// that returns an error, ctx ends or the watch does: ErrSlowReader and ErrCompacted
// say that changes are lost, and that whoever follows has to list again.
func Follow(ctx context.Context, s Store, prefix string, from int64, take func(Event) error) error {
	w, err := s.Watch(ctx, prefix, from)
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
			if err := take(ev); err != nil {
				return err
			}
		}
	}
}
