package planner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/plan"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// Releases resolves tags; *git.Resolver does.
type Releases interface {
	Resolve(ctx context.Context, req git.Request) (*git.Found, error)
}

// Manifests judges what was published with a release; *releases.Policy does.
type Manifests interface {
	Judge(ctx context.Context, q releases.Question) (*releases.Approval, error)
}

// Hosts gives the planner's view of the fleet.
type Hosts interface{ Plan() plan.Hosts }

// Planner makes drafts and proposals. It is safe for concurrent use.
type Planner struct {
	records   *records.Records
	releases  Releases
	manifests Manifests
	hosts     Hosts
	now       func() time.Time
	configs   configs
}

// New returns a planner.
func New(r *records.Records, from Releases, judge Manifests, hosts Hosts, now func() time.Time) *Planner {
	return &Planner{records: r, releases: from, manifests: judge, hosts: hosts, now: now}
}

// Draft is a revision that could run, before it is known where.
type Draft struct {
	Spec     model.ContainerSpec
	Revision model.Revision
	// Existing says that the container has this very revision already.
	Existing bool
	Config   *release.Config
	Warnings []string
	// noDowngrades refuses the release where a higher number has served.
	noDowngrades bool
	// known are the container's revisions, oldest first.
	known []model.Revision
}

// maxSpec bounds a container's settings as they are stored, in bytes. An update keeps
// those before and those after, and has to have room for all that happens in it.
const maxSpec = 96 << 10

// ErrSpecTooLarge is what every error about settings that are too large is.
var ErrSpecTooLarge = errors.New("the settings are too large")

func checkSize(spec model.ContainerSpec) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encode the settings: %w", err)
	}
	if len(data) > maxSpec {
		return fmt.Errorf("%w: variables, SSH keys and all else have %d bytes, limit is %d: put large values into the release", ErrSpecTooLarge, len(data), maxSpec)
	}
	return nil
}

// ErrSecret is what every error about a secret that does not exist is.
var ErrSecret = errors.New("no such secret")

// Draft resolves and checks what spec asks for. It may take as long as a Git
// server does, so it is called outside of any lock. tagNamed says that the user
// named the tag in this request: then the repository is asked whether it still
// points at the commit that it was pinned to.
func (p *Planner) Draft(ctx context.Context, k model.ContainerKey, spec model.ContainerSpec, tagNamed bool) (*Draft, error) {
	if err := checkSize(spec); err != nil {
		return nil, err
	}
	d := &Draft{Spec: spec}
	items, err := p.records.Revisions(ctx, k)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		d.known = append(d.known, item.Value)
	}
	if err := p.pin(ctx, k.Org, d, tagNamed); err != nil {
		return nil, err
	}
	if err := p.inputs(ctx, k.Org, d); err != nil {
		return nil, err
	}
	p.number(d)
	return d, nil
}

// pin resolves the tag, once for all: a tag that this container has run before
// must still point at the commit it was pinned to. What was pinned is kept, so
// a redeploy needs no repository, unless it was unsigned and may be no more: then
// a manifest may have been published since.
func (p *Planner) pin(ctx context.Context, org string, d *Draft, tagNamed bool) error {
	pinned := d.lastWith(d.Spec.Repository, d.Spec.Tag)
	if pinned != nil && !tagNamed {
		if err := p.use(ctx, org, d, *pinned); !unpublished(err) {
			return err
		}
	}
	req := git.Request{Repository: d.Spec.Repository, Tag: d.Spec.Tag}
	if pinned != nil {
		req.Commit = pinned.Commit
	}
	found, err := p.releases.Resolve(ctx, req)
	if pinned != nil && errors.Is(err, git.ErrUnreachable) {
		d.Warnings = append(d.Warnings, fmt.Sprintf("the repository can't be reached, so the commit %s that %s was pinned to is used: %v", shortCommit(pinned.Commit), d.Spec.Tag, err))
		return p.use(ctx, org, d, *pinned)
	}
	if err != nil {
		return err
	}
	m := found.Manifest
	return p.use(ctx, org, d, model.Revision{
		Repository: d.Spec.Repository, Tag: d.Spec.Tag, Commit: found.Commit,
		ConfigName: found.ConfigName, Config: found.Content,
		Manifest: &model.Manifest{Envelope: m.Envelope, Plain: m.Plain, Bundle: m.Bundle},
	})
}

// unpublished says whether a release is refused because it has no manifest.
func unpublished(err error) bool {
	var refused *manifest.RefusedError
	return errors.As(err, &refused) && refused.Reason == manifest.Missing
}

func (d *Draft) lastWith(repository, tag string) *model.Revision {
	for i := len(d.known) - 1; i >= 0; i-- {
		if d.known[i].Repository == repository && d.known[i].Tag == tag {
			return &d.known[i]
		}
	}
	return nil
}

// use takes the release part of a revision, parses its config, and has its
// manifest judged.
func (p *Planner) use(ctx context.Context, org string, d *Draft, r model.Revision) error {
	config, warnings, err := p.configs.parse(r.ConfigName, r.Config)
	if err != nil {
		return fmt.Errorf("config of %s at %s: %w", r.Repository, r.Tag, err)
	}
	approved, err := p.manifests.Judge(ctx, question(org, d.Spec.Debug, r, config))
	if err != nil {
		return err
	}
	for _, w := range warnings {
		d.Warnings = append(d.Warnings, r.ConfigName+": "+w.String())
	}
	if approved.Warning != "" {
		d.Warnings = append(d.Warnings, approved.Warning)
	}
	digest := sha256.Sum256(r.Config)
	d.Config, d.noDowngrades = config, approved.NoDowngrades
	d.Revision = model.Revision{
		Repository: r.Repository, Tag: r.Tag, Commit: r.Commit,
		ConfigName: r.ConfigName, Config: r.Config, ConfigDigest: hex.EncodeToString(digest[:]),
		Variables: d.Spec.Variables, Debug: d.Spec.Debug, SSHKeys: d.Spec.SSHKeys,
		Room:       model.Room{GPUs: config.GPUs, CPUs: config.CPUs, MemoryMiB: int64(config.MemoryMiB)},
		CVMVersion: config.CVMVersion,
		HealthWait: healthWait(config),
		Manifest:   approved.Manifest, Expected: approved.Expected,
	}
	return nil
}

// question asks about the release part of a revision.
func question(org string, debug bool, r model.Revision, config *release.Config) releases.Question {
	q := releases.Question{Org: org, Debug: debug, Release: release.Release{
		Repository: r.Repository, Tag: r.Tag, Commit: r.Commit, ConfigName: r.ConfigName, Config: config,
	}}
	if m := r.Manifest; m != nil {
		q.Published = git.Published{Envelope: m.Envelope, Plain: m.Plain, Bundle: m.Bundle}
	}
	return q
}

// healthWait is how long the slowest health check may take to pass at start, by
// the config's own words.
func healthWait(c *release.Config) time.Duration {
	var longest time.Duration
	for _, container := range c.Containers {
		if h := container.Healthcheck; h != nil {
			longest = max(longest, h.StartPeriod+time.Duration(h.Retries)*(h.Interval+h.Timeout))
		}
	}
	return longest
}

// ErrSSHKeys says that SSH keys are given to what is no debug container.
var ErrSSHKeys = errors.New("SSH keys are for debug containers only: add --debug, or leave them out")

// inputs checks variables and secrets against what the config declares.
func (p *Planner) inputs(ctx context.Context, org string, d *Draft) error {
	unset, err := d.Config.CheckInputs(d.Spec.Variables, d.Spec.Secrets)
	if err != nil {
		return err
	}
	for _, name := range unset {
		d.Warnings = append(d.Warnings, fmt.Sprintf("variable %s is declared and has no value: give one with --variable %s=…", name, name))
	}
	if len(d.Spec.SSHKeys) > 0 && !d.Spec.Debug {
		return ErrSSHKeys
	}
	for _, name := range d.Spec.Secrets {
		item, err := records.Get(ctx, p.records, records.Secrets, records.SecretKey(org, name))
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("secret %s: %w: create it with `casemate secret create %s`", name, ErrSecret, name)
		}
		if err != nil {
			return err
		}
		if d.Revision.Secrets == nil {
			d.Revision.Secrets = map[string]int64{}
		}
		d.Revision.Secrets[name] = item.Value.Version
	}
	return nil
}

// number finds an existing revision with the same content.
func (p *Planner) number(d *Draft) {
	want := contentDigest(d.Revision)
	for _, r := range d.known {
		if r.Commit == d.Revision.Commit && r.ConfigDigest == d.Revision.ConfigDigest && contentDigest(r) == want {
			d.Revision, d.Existing = r, true
			return
		}
	}
	d.Revision.Created = p.now().UTC()
}

// contentDigest identifies what a revision runs, whatever its number and age.
func contentDigest(r model.Revision) string {
	r.Number, r.Created = 0, time.Time{}
	if len(r.Variables) == 0 {
		r.Variables = nil
	}
	if len(r.SSHKeys) == 0 {
		r.SSHKeys = nil
	}
	data, err := json.Marshal(r)
	if err != nil {
		// Plain data always encodes; a digest that fits nothing is the safe answer.
		return err.Error() + r.Created.String()
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func shortCommit(commit string) string { return commit[:min(len(commit), 12)] }

// refreshed names the secrets whose version is newer than what runs.
func refreshed(active *model.Revision, next model.Revision) []string {
	var names []string
	if active == nil {
		return nil
	}
	for name, version := range next.Secrets {
		if old, ok := active.Secrets[name]; ok && version > old {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
