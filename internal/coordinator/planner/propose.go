package planner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/plan"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// Proposal is an update ready to be started.
type Proposal struct {
	Start engine.Start
	// Revision is set if it is a new one and must be kept.
	Revision *model.Revision
	Plan     model.Plan
}

// startMargin is what a config's own health checks are given on top.
const startMargin = 5 * time.Minute

// Propose decides where a draft goes, by the state as it stands; of that it needs
// the container only. What is to be started is proposed while no other plan is
// made.
func (p *Planner) Propose(d *Draft, s engine.State, kind model.Kind, o model.UpdateOptions) (*Proposal, error) {
	if err := d.downgrade(s.Container); err != nil {
		return nil, err
	}
	hosts := p.hosts.Plan()
	req := plan.Request{
		Platforms: platforms(d.Revision),
		Room:      d.Revision.Room, Old: s.Container.Active, Pin: d.Spec.Host,
		Strategy: o.Strategy, AllowDowntime: o.AllowDowntime, Hold: o.Hold,
	}
	decision, err := plan.Decide(hosts, req)
	if err != nil {
		return nil, err
	}
	active := d.active(s.Container)
	out := &Proposal{Plan: p.describe(d, s.Container, active, decision)}
	out.Plan.Hosts = plan.Rooms(hosts, req)
	stored := kept(out.Plan)
	revision := d.Revision
	if !d.Existing {
		revision.Number = s.Container.Revisions + 1
		out.Revision = &revision
	}
	o.HealthWait = d.Revision.HealthWait + startMargin
	out.Start = engine.Start{Revision: revision.Number, Update: model.Update{
		Kind: d.kind(kind, active), Strategy: decision.Strategy, Options: o, ToTag: revision.Tag,
		NewSpec: d.Spec, Plan: &stored,
		New: model.EnclaveRef{Host: decision.Host, Tag: revision.Tag, Commit: revision.Commit, Room: revision.Room, Release: number(revision)},
	}}
	return out, nil
}

// downgrade refuses a release that is older than one that has served, where the
// signer's rule says so.
func (d *Draft) downgrade(c *model.Container) error {
	if n := number(d.Revision); d.noDowngrades && n < c.Release {
		return &manifest.RefusedError{Reason: manifest.BelowFloor, Detail: fmt.Sprintf(
			"%s is release %d, and %s has served release %d: downgrades are refused for this repository (releases.signers of the coordinator)", d.Revision.Tag, n, c.Name, c.Release)}
	}
	return nil
}

// number is that of a revision's release; 0 if it is unsigned.
func number(r model.Revision) uint64 {
	if r.Manifest == nil {
		return 0
	}
	return r.Manifest.Number
}

// platforms are those on which a revision may run, each once; none means any.
func platforms(r model.Revision) []attest.Format {
	var out []attest.Format
	for _, e := range r.Expected {
		if !slices.Contains(out, e.Platform) {
			out = append(out, e.Platform)
		}
	}
	return out
}

func (d *Draft) active(c *model.Container) *model.Revision {
	if c.Active == nil {
		return nil
	}
	for i := range d.known {
		if d.known[i].Number == c.Active.Revision {
			return &d.known[i]
		}
	}
	return nil
}

// kind tells an update from a rollback and a redeploy.
func (d *Draft) kind(asked model.Kind, active *model.Revision) model.Kind {
	if asked != model.KindUpdate || active == nil {
		return asked
	}
	if active.Tag == d.Revision.Tag && active.Repository == d.Revision.Repository {
		return model.KindRedeploy
	}
	for _, r := range d.known {
		if r.Number < active.Number && r.Tag == d.Revision.Tag {
			return model.KindRollback
		}
	}
	return model.KindUpdate
}

func (p *Planner) describe(d *Draft, c *model.Container, active *model.Revision, decision plan.Decision) model.Plan {
	out := model.Plan{
		Strategy: decision.Strategy, Reason: decision.Reason, Downtime: decision.Downtime, Host: decision.Host,
		Room: d.Revision.Room, Changes: p.changes(active, d), Refreshed: refreshed(active, d.Revision),
		Warnings: d.Warnings, LastBoots: c.Boots, Tag: d.Revision.Tag, Commit: d.Revision.Commit,
	}
	if d.Existing {
		out.Revision = d.Revision.Number
	}
	out.Insecure = d.insecure()
	if m := d.Revision.Manifest; m != nil {
		out.Manifest = &model.Manifest{Number: m.Number, Digest: m.Digest, SignedBy: m.SignedBy}
	}
	out.Etag = planEtag(d, out)
	return out
}

// insecure names the insecure modes that a draft would run in, as far as they are
// known before it does.
func (d *Draft) insecure() []string {
	var out []string
	if d.Spec.Debug {
		out = append(out, "debug")
	}
	if d.Revision.Manifest == nil {
		out = append(out, releases.Unsigned)
	}
	return out
}

// planEtag covers what a person agrees to: what will run and whether there is
// downtime. The host may become another one meanwhile.
func planEtag(d *Draft, p model.Plan) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s %s %v", contentDigest(d.Revision), p.Strategy, p.Downtime)))
	return hex.EncodeToString(sum[:16])
}

// changes names what differs from what runs.
func (p *Planner) changes(active *model.Revision, d *Draft) []model.Change {
	if active == nil {
		return nil
	}
	var out []model.Change
	add := func(path, old, next string) {
		if old != next {
			out = append(out, model.Change{Path: path, Old: old, New: next})
		}
	}
	add("tag", active.Tag, d.Revision.Tag)
	add("commit", shortCommit(active.Commit), shortCommit(d.Revision.Commit))
	add("debug", strconv.FormatBool(active.Debug), strconv.FormatBool(d.Revision.Debug))
	old, _, err := p.configs.parse(active.ConfigName, active.Config)
	if err != nil {
		add("config", "unreadable: "+err.Error(), "")
		return out
	}
	for _, c := range release.Diff(
		release.Side{Config: old, Variables: active.Variables, SecretVersions: versions(active.Secrets)},
		release.Side{Config: d.Config, Variables: d.Revision.Variables, SecretVersions: versions(d.Revision.Secrets)},
	) {
		add(c.Path, c.Old, c.New)
	}
	return out
}

func versions(in map[string]int64) map[string]string {
	out := make(map[string]string, len(in))
	for name, v := range in {
		out[name] = "version " + strconv.FormatInt(v, 10)
	}
	return out
}

// Replan finds a host other than that of failed, if it names one; it is the
// runner's Replanner.
func (p *Planner) Replan(ctx context.Context, s engine.State, failed model.EnclaveRef) (string, *engine.Failure, error) {
	rev, err := p.records.Revision(ctx, s.Container.Key(), failed.Revision)
	if err != nil {
		return "", &engine.Failure{Reason: "INTERNAL", Text: err.Error()}, nil
	}
	pin := s.Container.Spec.Host
	if s.Update != nil && !s.Update.Status.Ended() {
		pin = s.Update.NewSpec.Host
		if s.Update.Restoring {
			pin = s.Update.OldSpec.Host
		}
	}
	d, err := plan.Decide(p.hosts.Plan(), plan.Request{Room: failed.Room, Pin: pin, Avoid: failed.Host, Platforms: platforms(rev)})
	var refused *plan.Refused
	switch {
	case errors.As(err, &refused) && refused.Reason == plan.HostsJoining:
		return "", nil, err
	case errors.As(err, &refused):
		return "", &engine.Failure{Reason: refused.Reason, Text: refused.Text}, nil
	case err != nil:
		return "", &engine.Failure{Reason: "INTERNAL", Text: err.Error()}, nil
	}
	return d.Host, nil, nil
}
