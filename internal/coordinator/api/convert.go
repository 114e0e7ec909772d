package api

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
)

func etag(revision int64) string { return strconv.FormatInt(revision, 36) }

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func durations(in []time.Duration) []*durationpb.Duration {
	out := make([]*durationpb.Duration, len(in))
	for i, d := range in {
		out[i] = durationpb.New(d)
	}
	return out
}

func specMessage(s model.ContainerSpec) *cv1.ContainerSpec {
	return &cv1.ContainerSpec{
		Repository: s.Repository, Tag: s.Tag, Variables: s.Variables, Secrets: s.Secrets,
		Debug: s.Debug, SshKeys: s.SSHKeys, Domain: s.Domain, Host: s.Host,
	}
}

func specModel(s *cv1.ContainerSpec) model.ContainerSpec {
	return model.ContainerSpec{
		Repository: s.GetRepository(), Tag: s.GetTag(), Variables: s.GetVariables(), Secrets: slices.Sorted(slices.Values(s.GetSecrets())),
		Debug: s.GetDebug(), SSHKeys: s.GetSshKeys(), Domain: s.GetDomain(), Host: s.GetHost(),
	}
}

func containerMessage(c *model.Container, revision int64) *cv1.Container {
	m := &cv1.Container{
		Org: c.Org, Name: c.Name, Uid: c.UID, Spec: specMessage(c.Spec),
		Status: cv1.ContainerStatus(cv1.ContainerStatus_value["CONTAINER_STATUS_"+string(c.Status)]),
		Reason: c.Reason, Text: c.Text, ActiveUpdate: c.Update, LastUpdate: c.LastUpdate,
		CreateTime: stamp(c.Created), UpdateTime: stamp(c.Updated), Etag: etag(revision),
	}
	if c.Silent != nil {
		m.HostUnreachableSince = stamp(c.Silent.Since)
	}
	if a := c.Active; a != nil {
		m.ActiveRevision, m.ActiveTag, m.ActiveCommit = a.Revision, a.Tag, a.Commit
		m.ActiveEnclave, m.ActiveHost, m.Insecure = a.ID, a.Host, a.Insecure
		m.Cpus, m.MemoryMib, m.Gpus = uint32(a.Room.CPUs), uint64(a.Room.MemoryMiB), uint32(a.Room.GPUs)
	}
	for _, l := range c.Leftovers {
		m.LeftoverEnclaves = append(m.LeftoverEnclaves, l.ID)
	}
	return m
}

func updateMessage(u *model.Update, revision int64) *cv1.Update {
	m := &cv1.Update{
		Id: u.ID, Org: u.Org, Container: u.Container, Kind: string(u.Kind),
		Strategy: strategyMessage(u.Strategy),
		Status:   cv1.UpdateStatus(cv1.UpdateStatus_value["UPDATE_STATUS_"+string(u.Status)]),
		Step:     cv1.UpdateStep(cv1.UpdateStep_value["UPDATE_STEP_"+string(u.Step)]),
		Reason:   u.Reason, Text: u.Text, ToRevision: u.ToRevision, ToTag: u.ToTag,
		Candidate: u.New.ID, Host: u.New.Host, Insecure: u.New.Insecure,
		Hold: u.Options.Hold, CancelRequested: u.CancelRequested,
		RestoreOnFailure: u.Options.RestoreOnFailure, Restoring: u.Restoring,
		ConnectionsLeft: u.Left, Stages: stageMessages(u.Stages), Verdict: verdictMessage(u.Verdict),
		StepDeadline: stamp(u.Deadline), CreateTime: stamp(u.Created), EndTime: stamp(u.Ended),
		SwitchTime: stamp(u.SwitchedAt), Etag: etag(revision),
	}
	if u.Status.Ended() {
		m.StepDeadline = nil
	}
	if u.Old != nil {
		m.FromRevision, m.FromTag, m.OldEnclave = u.Old.Revision, u.Old.Tag, u.Old.ID
	}
	if u.Plan != nil {
		m.Plan = planMessage(*u.Plan)
	}
	for _, h := range u.History {
		m.History = append(m.History, &cv1.StepRecord{
			Step:      cv1.UpdateStep(cv1.UpdateStep_value["UPDATE_STEP_"+string(h.Step)]),
			EnterTime: stamp(h.Entered), LeaveTime: stamp(h.Left), Note: h.Note,
		})
	}
	return m
}

func strategyMessage(s model.Strategy) cv1.Strategy {
	return cv1.Strategy(cv1.Strategy_value["STRATEGY_"+string(s)])
}

func strategyModel(s cv1.Strategy) model.Strategy {
	if s == cv1.Strategy_STRATEGY_UNSPECIFIED {
		return ""
	}
	return model.Strategy(strings.TrimPrefix(s.String(), "STRATEGY_"))
}

func optionsModel(o *cv1.UpdateOptions) model.UpdateOptions {
	return model.UpdateOptions{
		Strategy: strategyModel(o.GetStrategy()), Hold: o.GetHold(), AllowDowntime: o.GetAllowDowntime(),
		RestoreOnFailure: o.GetRestoreOnFailure(),
		DrainTimeout:     o.GetDrainTimeout().AsDuration(), StartTimeout: o.GetStartTimeout().AsDuration(),
	}
}

func stageMessages(in []model.Stage) []*agentv1.BootStage {
	var out []*agentv1.BootStage
	for _, s := range in {
		out = append(out, &agentv1.BootStage{
			Name: s.Name, Reason: s.Reason, Duration: durationpb.New(s.Duration),
			Status: agentv1.StageStatus(agentv1.StageStatus_value["STAGE_STATUS_"+strings.ToUpper(s.Status)]),
		})
	}
	return out
}

func verdictMessage(v *model.Verdict) *agentv1.Verdict {
	if v == nil {
		return nil
	}
	m := &agentv1.Verdict{Accepted: v.Accepted, Format: v.Format, Insecure: v.Insecure, NotPinned: v.NotPinned, Time: stamp(v.At)}
	for _, c := range v.Checks {
		m.Checks = append(m.Checks, &agentv1.VerdictCheck{Name: c.Name, Ok: c.OK, Detail: c.Detail})
	}
	return m
}

func roomMessage(r model.Room) *cv1.Room {
	return &cv1.Room{Gpus: uint32(max(r.GPUs, 0)), Cpus: uint32(max(r.CPUs, 0)), MemoryMib: uint64(max(r.MemoryMiB, 0))}
}

func counts(in []int) []uint32 {
	out := make([]uint32, len(in))
	for i, n := range in {
		out[i] = uint32(n)
	}
	return out
}

func planMessage(p model.Plan) *cv1.Plan {
	m := &cv1.Plan{
		Strategy: strategyMessage(p.Strategy), Reason: p.Reason, DowntimeRequired: p.Downtime,
		LastBoots: durations(p.LastBoots), Host: p.Host, SecretsRefreshed: p.Refreshed,
		Reserves: roomMessage(p.Room), Revision: p.Revision, Tag: p.Tag, Commit: p.Commit,
		Etag: p.Etag, Warnings: p.Warnings, Manifest: manifestMessage(p.Manifest), Insecure: p.Insecure,
	}
	for _, h := range p.Hosts {
		m.Hosts = append(m.Hosts, &cv1.HostRoom{
			Host: h.Host, Free: roomMessage(h.Free), GpuOffers: counts(h.Offers), Fits: h.Fits, Missing: h.Missing,
		})
	}
	for _, c := range p.Changes {
		m.Changes = append(m.Changes, &cv1.Change{Path: c.Path, OldValue: c.Old, NewValue: c.New})
	}
	return m
}

func routeMessage(r model.Route) *cv1.Route {
	return &cv1.Route{
		Domain: r.Domain, Org: r.Org, Container: r.Container,
		State:   cv1.RouteState(cv1.RouteState_value["ROUTE_STATE_"+string(r.State)]),
		Enclave: r.Enclave, Endpoint: r.Endpoint, Generation: r.Generation,
		HoldTimeout: durationpb.New(r.HoldTimeout), UpdateTime: stamp(r.Updated), LostEnclaves: r.Lost,
	}
}

func eventMessage(item records.Item[model.Event]) *cv1.Event {
	e := item.Value
	return &cv1.Event{
		Org: e.Org, Container: e.Container, Update: e.Update, Host: e.Host,
		Severity: agentv1.Severity(agentv1.Severity_value["SEVERITY_"+string(e.Severity)]),
		Reason:   e.Reason, Text: e.Text, Time: stamp(e.Time),
		Id: strings.TrimPrefix(item.Key, records.EventPrefix),
	}
}

func revisionMessage(r model.Revision) *cv1.Revision {
	return &cv1.Revision{
		Number: r.Number, Repository: r.Repository, Tag: r.Tag, Commit: r.Commit,
		ConfigName: r.ConfigName, ConfigDigest: r.ConfigDigest, Variables: r.Variables,
		SecretVersions: r.Secrets, Cpus: uint32(r.Room.CPUs), MemoryMib: uint64(r.Room.MemoryMiB),
		Gpus: uint32(r.Room.GPUs), Debug: r.Debug, SshKeys: r.SSHKeys, CreateTime: stamp(r.Created),
		Manifest: manifestMessage(r.Manifest),
	}
}

func manifestMessage(m *model.Manifest) *cv1.Manifest {
	if m == nil {
		return nil
	}
	return &cv1.Manifest{Number: m.Number, Digest: m.Digest, SignedBy: m.SignedBy}
}
