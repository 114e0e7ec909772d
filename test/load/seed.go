package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

// uids is the codec of the index by uid, which the records keep to themselves.
var uids = record.New[model.ContainerKey]("uid")

// seeder writes records straight into the store, many in a transaction.
type seeder struct {
	records *records.Records
	ops     []store.Op
	err     error
}

// seedOps is how many records a transaction takes.
const seedOps = 1000

func add[T any](ctx context.Context, s *seeder, codec record.Codec[T], key string, v T) {
	if s.err != nil {
		return
	}
	op, err := records.Put(codec, key, v)
	if err != nil {
		s.err = err
		return
	}
	if s.ops = append(s.ops, op); len(s.ops) == seedOps {
		s.flush(ctx)
	}
}

func (s *seeder) flush(ctx context.Context) {
	if s.err == nil && len(s.ops) > 0 {
		_, s.err = s.records.Commit(ctx, nil, s.ops)
		s.ops = nil
	}
}

func seedHosts(ctx context.Context, rec *records.Records, l layout) error {
	s := &seeder{records: rec}
	for n := range l.hosts {
		h := model.Host{Name: hostName(n), Address: hostName(n), Created: time.Now().UTC()}
		add(ctx, s, records.Hosts, records.HostKey(h.Name), h)
	}
	s.flush(ctx)
	return s.err
}

// seedContainers writes every container as it is when it has run for long; the
// first unfinished of those without GPUs, spread over the hosts, are in the
// middle of an update.
func seedContainers(ctx context.Context, rec *records.Records, l layout, unfinished int) error {
	s := &seeder{records: rec}
	every := 1
	if unfinished > 0 {
		every = max(l.containers()/2/unfinished, 1)
	}
	for c := range l.containers() {
		state := l.state(c)
		for n := 1; n <= l.revisions; n++ {
			add(ctx, s, records.Revisions, numbered(records.RevisionsPrefix(l.key(c)), n), l.revision(c, n))
		}
		if gpusOf(c) == 0 && unfinished > 0 && c/2%every == 0 {
			unfinished--
			var err error
			if state, err = l.midway(c, state); err != nil {
				return err
			}
		}
		s.state(ctx, state)
	}
	s.flush(ctx)
	if s.err == nil && unfinished > 0 {
		return fmt.Errorf("%d unfinished updates have no container", unfinished)
	}
	return s.err
}

func numbered(prefix string, n int) string { return fmt.Sprintf("%s%010d", prefix, n) }

func (s *seeder) state(ctx context.Context, state engine.State) {
	k := state.Container.Key()
	add(ctx, s, records.Containers, records.ContainerKey(k), *state.Container)
	add(ctx, s, uids, records.UIDPrefix+state.Container.UID, k)
	add(ctx, s, records.Routes, records.RouteKey(state.Route.Domain), *state.Route)
	for _, r := range state.Reservations {
		add(ctx, s, records.Reservations, records.ReservationPrefix+k.String()+"/"+r.Enclave, r)
	}
	if u := state.Update; u != nil {
		add(ctx, s, records.Updates, numbered(records.UpdatesOf(k), int(u.Number)), *u)
	}
}

func (l layout) state(c int) engine.State {
	k, now := l.key(c), time.Now().UTC()
	ref := model.EnclaveRef{
		ID: l.enclave(c), Host: hostName(l.hostOf(c)), Revision: int64(l.revisions), Tag: tagOf(l.revisions),
		Commit: commitOf(tagOf(l.revisions)), Endpoint: "198.51.100.7:20443", Room: roomOf(gpusOf(c)), Since: now.Add(-time.Hour),
	}
	n := int64(l.revisions)
	return engine.State{
		Container: &model.Container{
			Org: k.Org, Name: k.Name, UID: l.uid(c), Status: model.Running, Active: &ref,
			Spec:      model.ContainerSpec{Repository: repository(c), Tag: ref.Tag, Domain: l.domain(c)},
			Revisions: n, Attempts: n, Updates: n, Created: now, Updated: now,
		},
		Route: &model.Route{
			Domain: l.domain(c), Org: k.Org, Container: k.Name, State: model.RouteServing,
			Enclave: ref.ID, Endpoint: ref.Endpoint, Generation: n, HoldTimeout: 30 * time.Second, Updated: now,
		},
		Reservations: map[string]model.Reservation{
			ref.ID: {Enclave: ref.ID, Host: ref.Host, Org: k.Org, Container: k.Name, Room: ref.Room},
		},
	}
}

func (l layout) revision(c, n int) model.Revision {
	tag := tagOf(n)
	config := configOf(c, tag)
	digest := sha256.Sum256(config)
	return model.Revision{
		Number: int64(n), Repository: repository(c), Tag: tag, Commit: commitOf(tag), ConfigName: "casemate.yml",
		Config: config, ConfigDigest: hex.EncodeToString(digest[:]), Room: roomOf(gpusOf(c)), CVMVersion: "0.14.12",
		Created: time.Now().UTC(),
	}
}

// midway is the state of a container whose update was planned and committed when
// the coordinator ended: back to the first revision, on the same host.
func (l layout) midway(c int, s engine.State) (engine.State, error) {
	to := l.revision(c, 1)
	res, err := engine.Engine{Limits: engine.DefaultLimits()}.Step(s, engine.Start{Revision: 1, Update: model.Update{
		Kind: model.KindRollback, Strategy: model.BlueGreen, ToTag: to.Tag, NewSpec: s.Container.Spec,
		Plan: &model.Plan{Strategy: model.BlueGreen, Reason: "seeded", Host: hostName(l.hostOf(c)), Room: to.Room},
		New:  model.EnclaveRef{Host: hostName(l.hostOf(c)), Tag: to.Tag, Commit: to.Commit, Room: to.Room},
	}}, time.Now())
	return res.State, err
}
