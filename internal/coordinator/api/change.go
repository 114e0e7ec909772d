package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/planner"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
)

// Paths of a spec that may be given in an update, and for a template.
var (
	updatePaths   = []string{"tag", "variables", "secrets", "debug", "ssh_keys", "host"}
	templatePaths = []string{"tag", "variables", "secrets", "debug", "ssh_keys", "host", "domain", "repository"}
)

// masked returns the saved spec with the fields named by the mask replaced.
func masked(saved model.ContainerSpec, given *cv1.ContainerSpec, mask *fieldmaskpb.FieldMask, allowed []string) (model.ContainerSpec, error) {
	next := specModel(given)
	for _, path := range mask.GetPaths() {
		if !slices.Contains(allowed, path) {
			return saved, rpc.FieldError("update_mask", "BAD_UPDATE_MASK", fmt.Sprintf("%q can't be changed here; what can: %s", path, strings.Join(allowed, ", ")))
		}
		switch path {
		case "tag":
			saved.Tag = next.Tag
		case "variables":
			saved.Variables = next.Variables
		case "secrets":
			saved.Secrets = next.Secrets
		case "debug":
			saved.Debug = next.Debug
		case "ssh_keys":
			saved.SSHKeys = next.SSHKeys
		case "host":
			saved.Host = next.Host
		case "domain":
			saved.Domain = next.Domain
		case "repository":
			saved.Repository = next.Repository
		}
	}
	return saved, nil
}

// begun is what a create or update leads to.
type begun struct {
	container *cv1.Container
	update    *cv1.Update
	plan      *cv1.Plan
}

// creation is a new container asked for.
type creation struct {
	request      request
	org, name    string
	spec         model.ContainerSpec
	planEtag     string
	validateOnly bool
}

func (s *Server) create(ctx context.Context, c creation) (*begun, error) {
	if done, ok := repeated(c.request.check(ctx, s.cfg.Records)); ok {
		return s.again(ctx, c.org, done)
	} else if err := c.request.check(ctx, s.cfg.Records); err != nil {
		return nil, err
	}
	if c.spec.Repository == "" || c.spec.Tag == "" {
		return nil, rpc.FieldError("spec", "INCOMPLETE_SPEC", "repository and tag are required: give --repo and --tag")
	}
	if c.spec.Domain == "" {
		c.spec.Domain = c.name + "." + c.org + "." + s.cfg.BaseDomain
	}
	k := model.ContainerKey{Org: c.org, Name: c.name}
	draft, err := s.cfg.Planner.Draft(ctx, k, c.spec, true)
	if err != nil {
		return nil, err
	}
	var out *begun
	err = s.cfg.Runner.Planning(func() error {
		out, err = s.createPlanned(ctx, c, draft)
		return err
	})
	if done, ok := repeated(err); ok {
		return s.again(ctx, c.org, done)
	}
	return out, err
}

func (s *Server) createPlanned(ctx context.Context, c creation, draft *planner.Draft) (*begun, error) {
	now := s.cfg.Now().UTC()
	container := &model.Container{
		Org: c.org, Name: c.name, UID: s.cfg.NewUID(), Spec: c.spec,
		Status: model.Deploying, Created: now, Updated: now,
	}
	var plan *cv1.Plan
	state, err := s.cfg.Runner.Create(ctx, container, func(ctx context.Context, l *records.Loaded) (engine.Event, records.Extra, error) {
		l.Route.HoldTimeout = s.cfg.HoldTimeout
		proposal, extra, err := s.propose(ctx, c.request, draft, l, model.KindDeploy, model.UpdateOptions{}, c.planEtag)
		if err != nil {
			return nil, extra, err
		}
		plan = planMessage(proposal.Plan)
		if c.validateOnly {
			return nil, extra, errValidated
		}
		err = c.request.record(&extra, s, c.name, fmt.Sprintf("%s-u1", c.name))
		return proposal.Start, extra, err
	})
	if errors.Is(err, errValidated) {
		return &begun{container: containerMessage(container, 0), plan: plan}, nil
	}
	if err != nil {
		return nil, err
	}
	return s.begun(state, plan), nil
}

// propose makes the proposal for the state as it stands and checks that it is
// the one the caller agreed to.
func (s *Server) propose(ctx context.Context, r request, draft *planner.Draft, l *records.Loaded, kind model.Kind, o model.UpdateOptions, wantPlan string) (*planner.Proposal, records.Extra, error) {
	var extra records.Extra
	if err := r.check(ctx, s.cfg.Records); err != nil {
		return nil, extra, err
	}
	proposal, err := s.cfg.Planner.Propose(draft, l.State, kind, o)
	if err != nil {
		return nil, extra, err
	}
	if wantPlan != "" && wantPlan != proposal.Plan.Etag {
		return nil, extra, rpc.Error(codes.Aborted, "PLAN_CHANGED", "the plan is another one by now: look at it again and repeat", "plan_etag", proposal.Plan.Etag)
	}
	extra.Revision = proposal.Revision
	// A secret that is deleted or set again meanwhile changes what would run.
	for name := range draft.Revision.Secrets {
		extra.Compares = append(extra.Compares, store.Exists(records.SecretKey(l.Container.Org, name)))
	}
	return proposal, extra, nil
}

func (s *Server) begun(state *records.Loaded, plan *cv1.Plan) *begun {
	out := &begun{container: containerMessage(state.Container, state.ContainerRevision), plan: plan}
	if state.Update != nil {
		out.update = updateMessage(state.Update, state.UpdateRevision)
	}
	return out
}

// again answers a repeated request with what it led to.
func (s *Server) again(ctx context.Context, org string, done model.Request) (*begun, error) {
	c, err := s.container(ctx, org, done.Container)
	if err != nil {
		return nil, err
	}
	out := &begun{container: c}
	if done.Update == "" {
		return out, nil
	}
	item, err := s.cfg.Records.Update(ctx, model.ContainerKey{Org: org, Name: done.Container}, done.Update)
	if errors.Is(err, store.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.update = updateMessage(&item.Value, item.Revision)
	out.plan = out.update.GetPlan()
	return out, nil
}

// change is a move of an existing container asked for.
type change struct {
	request      request
	key          model.ContainerKey
	spec         *cv1.ContainerSpec
	mask         *fieldmaskpb.FieldMask
	options      model.UpdateOptions
	kind         model.Kind
	etag         string
	planEtag     string
	validateOnly bool
	// admit refuses by the container's state; may be nil.
	admit func(*model.Container) error
	// makeRoom ends an update in progress, once it is known that what was asked for
	// can be had as far as that can be told before; may be nil.
	makeRoom func(ctx context.Context, c *change) error
}

func (s *Server) change(ctx context.Context, c change) (*begun, error) {
	if err := c.request.check(ctx, s.cfg.Records); err != nil {
		if done, ok := repeated(err); ok {
			return s.again(ctx, c.key.Org, done)
		}
		return nil, err
	}
	item, err := records.Get(ctx, s.cfg.Records, records.Containers, records.ContainerKey(c.key))
	if err != nil {
		return nil, err
	}
	spec, err := masked(item.Value.Spec, c.spec, c.mask, updatePaths)
	if err != nil {
		return nil, err
	}
	draft, err := s.cfg.Planner.Draft(ctx, c.key, spec, slices.Contains(c.mask.GetPaths(), "tag"))
	if err != nil {
		return nil, err
	}
	if c.validateOnly {
		return s.changeChecked(ctx, c, draft, item)
	}
	if c.makeRoom != nil {
		if err := c.makeRoom(ctx, &c); err != nil {
			return nil, err
		}
	}
	var out *begun
	err = s.cfg.Runner.Planning(func() error {
		out, err = s.changePlanned(ctx, c, draft)
		return err
	})
	if done, ok := repeated(err); ok {
		return s.again(ctx, c.key.Org, done)
	}
	return out, err
}

// changeChecked says what would be done. It only reads, so it waits neither for
// plans that are being committed nor for the container's turn: what it says may
// be another thing a moment later either way.
func (s *Server) changeChecked(ctx context.Context, c change, draft *planner.Draft, item records.Item[model.Container]) (*begun, error) {
	l := &records.Loaded{State: engine.State{Container: &item.Value}, ContainerRevision: item.Revision}
	proposal, _, err := s.proposeChange(ctx, c, draft, l)
	if done, ok := repeated(err); ok {
		return s.again(ctx, c.key.Org, done)
	}
	if err != nil {
		return nil, err
	}
	return &begun{plan: planMessage(proposal.Plan)}, nil
}

// proposeChange checks a change against the state as it stands and makes the
// proposal.
func (s *Server) proposeChange(ctx context.Context, c change, draft *planner.Draft, l *records.Loaded) (*planner.Proposal, records.Extra, error) {
	if c.etag != "" && c.etag != etag(l.ContainerRevision) {
		return nil, records.Extra{}, etagMismatch("container")
	}
	if c.admit != nil {
		if err := c.admit(l.Container); err != nil {
			return nil, records.Extra{}, err
		}
	}
	if !c.validateOnly {
		if err := engine.Startable(l.State); err != nil {
			return nil, records.Extra{}, err
		}
	}
	return s.propose(ctx, c.request, draft, l, c.kind, c.options, c.planEtag)
}

func (s *Server) changePlanned(ctx context.Context, c change, draft *planner.Draft) (*begun, error) {
	var plan *cv1.Plan
	state, err := s.cfg.Runner.Do(ctx, c.key, func(ctx context.Context, l *records.Loaded) (engine.Event, records.Extra, error) {
		proposal, extra, err := s.proposeChange(ctx, c, draft, l)
		if err != nil {
			return nil, extra, err
		}
		plan = planMessage(proposal.Plan)
		id := fmt.Sprintf("%s-u%d", c.key.Name, l.Container.Updates+1)
		err = c.request.record(&extra, s, c.key.Name, id)
		return proposal.Start, extra, err
	})
	if err != nil {
		return nil, err
	}
	return s.begun(state, plan), nil
}
