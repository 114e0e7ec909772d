package fleet

import (
	"context"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// identify takes the host's word on which one it is. That it is another one than
// before is committed first: a coordinator that starts later finds what this one
// makes of it, or finds it out for itself.
func (w *watch) identify(incarnation string) error {
	w.mu.Lock()
	host, m := w.record.Name, w.machine
	w.mu.Unlock()
	if incarnation == "" || incarnation == m.Incarnation {
		return nil
	}
	if m.Incarnation != "" {
		m.Anew = w.fleet.cfg.Now().UTC()
		w.fleet.cfg.Log.Warn("host was set up anew, what it had is lost", "host", host, "incarnation", incarnation, "was", m.Incarnation)
	}
	m.Incarnation = incarnation
	if err := w.fleet.cfg.Note(w.ctx, host, m); err != nil {
		return err
	}
	w.update(func() { w.machine = m })
	return nil
}

// incarnation is that of the host as it is known now.
func (s *session) incarnation() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.Incarnation
}

// missing is what is said of enclaves that a host does not list; s.mu is held.
func (s *session) missing() model.Observation {
	return model.Observation{Incarnation: s.machine.Incarnation, Anew: !s.machine.Anew.IsZero(), Since: s.machine.Anew}
}

// noteSilence keeps on record since when a host has not answered, or that it answers
// if since is zero: a coordinator that starts later tries those that did first. It
// does without if that can't be committed.
func (s *session) noteSilence(ctx context.Context, since time.Time) {
	s.mu.Lock()
	host, m := s.record.Name, s.machine
	s.mu.Unlock()
	if m.Silent.IsZero() == since.IsZero() {
		return
	}
	m.Silent = since
	if err := s.fleet.cfg.Note(ctx, host, m); err != nil {
		s.fleet.cfg.Log.Warn("it is not on record whether a host answers", "host", host, "error", err)
		return
	}
	s.update(func() { s.machine = m })
}

// answered ends the silence of a host that has told all it has.
func (w *watch) answered() {
	w.mu.Lock()
	ready := w.status == Ready
	w.mu.Unlock()
	if ready {
		w.noteSilence(w.ctx, time.Time{})
	}
}
