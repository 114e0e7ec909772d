package api

import (
	"context"
	"errors"
	"slices"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

// secretUse says which containers are given a secret, and with which version
// those that run were started.
type secretUse struct {
	bound   map[string]bool
	running map[string]int64
}

// use gathers the bindings of an org's secrets: by what containers are set to,
// what their update in progress will set, and what runs.
func (s *Server) use(ctx context.Context, org string) (map[string]*secretUse, error) {
	items, _, err := records.List(ctx, s.cfg.Records, records.Containers, records.ContainerPrefix+org+"/", store.ListOptions{})
	if err != nil {
		return nil, err
	}
	use := map[string]*secretUse{}
	at := func(name string) *secretUse {
		if use[name] == nil {
			use[name] = &secretUse{bound: map[string]bool{}, running: map[string]int64{}}
		}
		return use[name]
	}
	for _, item := range items {
		c := item.Value
		for _, name := range c.Spec.Secrets {
			at(name).bound[c.Name] = true
		}
		if c.Update != "" {
			u, err := s.cfg.Records.Update(ctx, c.Key(), c.Update)
			if err != nil {
				return nil, err
			}
			for _, name := range slices.Concat(u.Value.NewSpec.Secrets, u.Value.OldSpec.Secrets) {
				at(name).bound[c.Name] = true
			}
		}
		serving, err := s.serving(ctx, &c)
		if err != nil {
			return nil, err
		}
		for name, version := range serving.Secrets {
			at(name).bound[c.Name] = true
			at(name).running[c.Name] = version
		}
	}
	return use, nil
}

// serving is the revision that serves; zero if none does.
func (s *Server) serving(ctx context.Context, c *model.Container) (model.Revision, error) {
	if c.Active == nil {
		return model.Revision{}, nil
	}
	r, err := s.cfg.Records.Revision(ctx, c.Key(), c.Active.Revision)
	if errors.Is(err, store.ErrNotFound) {
		return model.Revision{}, nil
	}
	return r, err
}

// stale names the secrets of an org that are newer than what the enclaves of a
// revision were given.
func (s *Server) stale(ctx context.Context, org string, r model.Revision) ([]string, error) {
	var names []string
	for name, version := range r.Secrets {
		item, err := records.Get(ctx, s.cfg.Records, records.Secrets, records.SecretKey(org, name))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if item.Value.Version > version {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Bounds on the containers that one new secret value marks at once: what is written
// has to fit a transaction.
const (
	maxTouched      = 400
	maxTouchedBytes = store.MaxTxnBytes / 2
)

// users returns the containers that run with a secret.
func (s *Server) users(ctx context.Context, org, name string) ([]records.Item[model.Container], error) {
	items, _, err := records.List(ctx, s.cfg.Records, records.Containers, records.ContainerPrefix+org+"/", store.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []records.Item[model.Container]
	for _, item := range items {
		serving, err := s.serving(ctx, &item.Value)
		if err != nil {
			return nil, err
		}
		if _, ok := serving.Secrets[name]; ok && len(out) < maxTouched {
			out = append(out, item)
		}
	}
	return out, nil
}

// SecretValues reads secret values for delivery; it is the attestor's Secrets.
type SecretValues struct {
	Records *records.Records
	Open    func(org, name string, version int64, sealed []byte) ([]byte, error)
}

// Value returns the plain value of one version of a secret.
func (v SecretValues) Value(ctx context.Context, org, name string, version int64) ([]byte, error) {
	item, err := records.Get(ctx, v.Records, records.SecretValues, records.SecretValueKey(org, name, version))
	if err != nil {
		return nil, err
	}
	return v.Open(org, name, version, item.Value.Sealed)
}
