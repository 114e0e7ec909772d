package records

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

// again reads a record and, if it is one of its kind, writes it and reads it
// again: nothing may be lost on the way.
func again[T any](t *testing.T, codec record.Codec[T], data []byte) {
	t.Helper()
	v, err := codec.Decode(data)
	if err != nil {
		return
	}
	encoded, err := codec.Encode(v)
	if errors.Is(err, store.ErrTooLarge) {
		return
	}
	if err != nil {
		t.Fatalf("a %s was read and can't be written: %v", codec.Kind(), err)
	}
	same, err := codec.Decode(encoded)
	if err != nil {
		t.Fatalf("a %s was written and can't be read: %v", codec.Kind(), err)
	}
	if twice, err := codec.Encode(same); err != nil || !bytes.Equal(encoded, twice) {
		t.Errorf("a %s was written as %s, and after reading as %s, %v", codec.Kind(), encoded, twice, err)
	}
}

func seed[T any](f *testing.F, codec record.Codec[T], v T) {
	f.Helper()
	data, err := codec.Encode(v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
}

// FuzzStoredRecord reads hostile bytes as each kind of record that the store
// holds.
func FuzzStoredRecord(f *testing.F) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	ref := model.EnclaveRef{ID: "c1-r1-1", Host: "h1", Endpoint: "10.0.0.1:20443"}
	seed(f, Containers, model.Container{Org: "acme", Name: "api", UID: "c1", Status: model.Running, Active: &ref, Leftovers: []model.EnclaveRef{ref}})
	seed(f, Updates, model.Update{ID: "api-u1", Strategy: model.BlueGreen, Step: model.StepBoot, New: ref, Deadline: at})
	seed(f, Revisions, model.Revision{})
	seed(f, Reservations, model.Reservation{Org: "acme", Container: "api", Host: "h1"})
	seed(f, Routes, model.Route{Domain: "api.example", State: model.RouteServing, Generation: 3})
	seed(f, Hosts, model.Host{Name: "h1", Address: "10.0.0.1:7443", Created: at})
	seed(f, Machines, model.Machine{Incarnation: "5f2d", Anew: at, Silent: at})
	seed(f, Secrets, model.Secret{})
	seed(f, SecretValues, model.SecretValue{})
	seed(f, Events, model.Event{})
	seed(f, Requests, model.Request{Method: "StartUpdate", Time: at})
	seed(f, Gateways, model.Gateway{Name: "gw-1"})
	seed(f, epochs, 7)
	f.Add([]byte(`{"kind":"container","v":2,"data":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		again(t, Containers, data)
		again(t, Updates, data)
		again(t, Revisions, data)
		again(t, Reservations, data)
		again(t, Routes, data)
		again(t, Hosts, data)
		again(t, Machines, data)
		again(t, Secrets, data)
		again(t, SecretValues, data)
		again(t, Events, data)
		again(t, Requests, data)
		again(t, Gateways, data)
		again(t, uids, data)
		again(t, clusters, data)
		again(t, epochs, data)
	})
}
