package sim

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// The times after which the real fleet tells of a silent host.
const (
	noticed    = 15 * time.Second
	silentLong = 2 * time.Minute
)

// fallSilent begins to count how long the host has not answered. mu is held.
func (s *session) fallSilent() {
	s.silence++
	s.lostAt = s.fleet.w.clock().UTC()
	s.silentAfter(noticed, s.silence, false)
}

func (s *session) silentAfter(d time.Duration, silence int, long bool) {
	s.fleet.w.unstepped(d, func() {
		if s.silence != silence || s.connected || s.fleet.closed || s.removed {
			return
		}
		s.silent(long)
		if long {
			s.silentAfter(silentLong, silence, true)
		} else {
			s.silentAfter(silentLong-noticed, silence, true)
		}
	})
}

// silent tells whoever was promised room on the host that it does not answer.
func (s *session) silent(long bool) {
	f := s.fleet
	f.w.say("%s is silent (for long: %v)", s.host.name, long)
	var ids []string
	for id := range f.promised[s.host.name] {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		p := f.promised[s.host.name][id]
		k := model.ContainerKey{Org: p.Org, Name: p.Container}
		f.w.silenceTold(f, s, k, id)
		f.sink(k, model.Observation{Enclave: id, Host: s.host.name, State: model.EnclaveSilent, Since: s.lostAt, Long: long})
	}
}

// silenceOf is word of an enclave's silent host, and what has to follow from it.
type silenceOf struct {
	container, host string
	fleet           *fleet
	session         *session
	silence         int
	at              time.Time
}

// silenceTold notes word of silence. mu is held.
func (w *world) silenceTold(f *fleet, s *session, k model.ContainerKey, id string) {
	w.silences[id] = silenceOf{
		container: k.String(), host: s.host.name, fleet: f, session: s, silence: s.silence, at: time.Now(),
	}
}

// silenceBroken: the host has answered a call, if nothing else. mu is held.
func (w *world) silenceBroken(host string) {
	for id, x := range w.silences {
		if x.host == host {
			delete(w.silences, id)
		}
	}
}

// shows says whether it may still be wanted of a container that it says so: its
// coordinator leads, its host is silent, and no commit that failed is still tried again.
func (x silenceOf) shows(w *world) bool {
	c := w.leader()
	return c != nil && c.fleet == x.fleet && c.epoch == w.view.epoch && !x.fleet.closed && !x.session.connected && !x.session.removed && x.session.silence == x.silence &&
		!w.disk.full && !w.disk.tight && time.Since(w.disk.faultAt) > 6*time.Second
}

// silencesShow: the container of what serves on a silent host says so. mu is held.
func (w *world) silencesShow() {
	for id, x := range w.silences {
		if time.Since(x.at) < time.Second || !x.shows(w) {
			continue
		}
		s := w.view.containers[x.container]
		if s == nil || s.container == nil || s.container.Active == nil || s.container.Active.ID != id {
			continue
		}
		if n := s.container.Silent; n == nil || n.Host != x.host {
			w.violate("silence", "%s serves on %s, which does not answer, and %s says %+v", id, x.host, x.container, n)
		}
	}
}

// notToTheSilent: traffic is not switched to a candidate whose host is known not to
// answer.
func (w *world) notToTheSilent(s *seen, was change) {
	u := s.update
	if u == nil || !u.Switched || was.update == nil || was.update.ID != u.ID || was.update.Switched {
		return
	}
	if x, told := w.silences[u.New.ID]; told && time.Since(x.at) > time.Second && x.shows(w) {
		w.violate("I3", "%s switches to %s, whose host %s has not answered for %s", u.ID, u.New.ID, x.host, time.Since(x.at))
	}
}

// noDowntimeInSilence: a replace does not begin its downtime on a host that is
// known not to answer.
func (w *world) noDowntimeInSilence(s *seen, was change) {
	u := s.update
	if u == nil || was.update == nil || was.update.ID != u.ID || u.Switched || u.OldGone || !u.OldStopping || was.update.OldStopping {
		return
	}
	if was.container.Silent != nil {
		w.violate("silence", "%s stops %s, whose host has not answered since %s", u.ID, u.Old.ID, was.container.Silent.Since)
	}
}

// noRefusalTooSoon: that no host has room is not said while one has yet to answer. A
// host that was silent before is no other place for what was there.
func (w *world) noRefusalTooSoon(s *seen, was change) {
	texts := s.container.Text
	avoided := ""
	if u := s.update; u != nil {
		texts += u.Text
	}
	if was.update != nil {
		avoided = was.update.New.Host
	}
	for _, h := range w.hosts {
		if h.name != avoided && strings.Contains(texts, h.name+": "+notHeard) {
			w.violate("joining", "%s is refused a place although %s has yet to answer: %s", s.key, h.name, texts)
		}
	}
}

// noTimeAnew: a candidate that was moved has no longer than it had.
func (w *world) noTimeAnew(s *seen, was change) {
	u := s.update
	if u == nil || was.update == nil || was.update.ID != u.ID || !was.update.Moved || was.update.Restoring != u.Restoring {
		return
	}
	for _, x := range [][2]time.Time{{was.update.StartedUntil, u.StartedUntil}, {was.update.PendingUntil, u.PendingUntil}} {
		if !x[0].IsZero() && x[1].After(x[0]) && (was.update.StartedUntil.IsZero() || x[1].After(was.update.StartedUntil)) {
			w.violate("R6", "%s was moved and has until %s, it had until %s", u.ID, x[1], x[0])
		}
	}
}

// nothingUnknownRuns is the last part of I6: what runs of a container is wanted, or
// known to be left over.
func (w *world) nothingUnknownRuns(s *seen) {
	c, u := s.container, s.state(w.view).Update
	for _, h := range w.hosts {
		for id, e := range h.enclaves {
			if !strings.HasPrefix(id, c.UID+"-") || !e.asked || !e.runs() || e.lied || h.forgotten || w.refused[id] || leftover(c, id) {
				continue
			}
			if c.Active != nil && c.Active.ID == id || u != nil && (u.New.ID == id || u.Old != nil && u.Old.ID == id || u.Failed != nil && u.Failed.ID == id) {
				continue
			}
			w.violate("I6", "%s runs on %s, and %s does not know", id, h.name, s.key)
		}
	}
}

// lossesToldToGateways: what served on a host that was given up is named to the
// gateways.
func (w *world) lossesToldToGateways(s *seen, was change) {
	if was.container == nil || was.container.Active == nil {
		return
	}
	gone, c := was.container.Active, s.container
	if _, known := w.view.hosts[gone.Host]; known || c.Active != nil && c.Active.ID == gone.ID || c.Teardown != nil || c.Reason != "HOST_FORGOTTEN" {
		return
	}
	if slices.Contains(w.view.routes[c.Spec.Domain].Lost, gone.ID) {
		return
	}
	w.violate("lost", "%s was lost with %s, and the gateways keep their connections to it", gone.ID, gone.Host)
}
