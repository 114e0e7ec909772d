package api

import (
	"context"
	"fmt"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
)

// DrainHost cordons a host and moves what it serves, blue-green. It may be asked
// again: what moves already is told as such.
func (s *hostService) DrainHost(ctx context.Context, m *cv1.DrainHostRequest) (*cv1.DrainHostResponse, error) {
	out := &cv1.DrainHostResponse{}
	var err error
	if out.Host, err = s.cordon(ctx, newRequest(noOrg, "DrainHost", m), m.GetName(), "", m.GetValidateOnly(), true); err != nil {
		return nil, err
	}
	if !out.GetHost().GetCordoned() && !m.GetValidateOnly() {
		return nil, rpc.Precondition("UNCORDONED", m.GetName(), fmt.Sprintf("host %s was uncordoned since this drain began: to drain it after all, ask anew", m.GetName()))
	}
	items, _, err := records.List(ctx, s.cfg.Records, records.Containers, records.ContainerPrefix, store.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		c := item.Value
		if c.Active == nil || c.Active.Host != m.GetName() {
			continue
		}
		if err := s.move(ctx, &c, m.GetValidateOnly(), out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// move starts a redeploy of one container onto another host. A refusal is part
// of the answer; only a fault of the coordinator itself ends the whole call.
func (s *hostService) move(ctx context.Context, c *model.Container, validateOnly bool, out *cv1.DrainHostResponse) error {
	begun, err := s.change(ctx, change{
		key: c.Key(), kind: model.KindUpdate, validateOnly: validateOnly,
		options: model.UpdateOptions{Strategy: model.BlueGreen},
	})
	if err != nil {
		mapped := MapError(err)
		if ctx.Err() != nil {
			return err
		}
		out.Stays = append(out.Stays, &cv1.Stays{Org: c.Org, Container: c.Name, Reason: rpc.Reason(mapped), Text: rpc.Text(mapped)})
		return nil
	}
	out.Moved = append(out.Moved, &cv1.Moved{
		Org: c.Org, Container: c.Name, Update: begun.update.GetId(), ToHost: begun.plan.GetHost(),
	})
	return nil
}
