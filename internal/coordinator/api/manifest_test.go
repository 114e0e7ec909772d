package api

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// releaseKey signs the releases of these tests, strangerKey nobody trusts.
var (
	releaseKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte("r"), ed25519.SeedSize))
	strangerKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte("s"), ed25519.SeedSize))
)

// manifestOf is the manifest of a tag: its number is its commit's first digit.
func manifestOf(f *git.Found) *manifest.Manifest {
	config, _, err := release.Parse(f.ConfigName, f.Content)
	if err != nil {
		panic(err)
	}
	m, err := manifest.Build(release.Release{
		Repository: f.Repository, Tag: f.Tag, Commit: f.Commit, ConfigName: f.ConfigName, Config: config,
	}, uint64(f.Commit[0]-'0'), time.Unix(1_790_000_000, 0), []manifest.Machine{{Platform: attest.FormatSimulated, Shape: "dev"}})
	if err != nil {
		panic(err)
	}
	return m
}

func published(key crypto.Signer, m *manifest.Manifest) git.Published {
	signed, err := manifest.Sign(rand.Reader, m, key)
	if err != nil {
		panic(err)
	}
	return git.Published{Envelope: signed}
}

// signedBy publishes the manifest that change makes of a tag's.
func signedBy(key crypto.Signer, change func(*manifest.Manifest)) func(*git.Found) git.Published {
	return func(f *git.Found) git.Published {
		m := manifestOf(f)
		change(m)
		return published(key, m)
	}
}

// trusting is a policy with one signer, for all orgs and repositories.
func trusting(change func(*releases.Signer)) *releases.Policy {
	s := releases.Signer{Keys: []crypto.PublicKey{releaseKey.Public()}}
	if change != nil {
		change(&s)
	}
	return releases.New(releases.Config{Signers: []releases.Signer{s}})
}

func unchanged(*manifest.Manifest) {}

// firstGood publishes a good manifest with v1.0.0, so that there is something to
// update, and another with v1.1.0.
func firstGood(next func(*git.Found) git.Published) tags {
	return tags{func(f *git.Found) git.Published {
		if f.Tag == "v1.0.0" {
			return published(releaseKey, manifestOf(f))
		}
		return next(f)
	}}
}

func TestNoReleaseIsPlannedOrStartedWithoutAGoodManifest(t *testing.T) {
	for _, c := range []struct {
		rule    string
		publish func(*git.Found) git.Published
		want    manifest.Reason
		says    string
	}{
		{"missing", func(*git.Found) git.Published { return git.Published{} }, manifest.Missing, "refs/casemate/manifests/v1.1.0"},
		{"unsigned", func(f *git.Found) git.Published {
			text, _ := manifestOf(f).Encode()
			return git.Published{Plain: text}
		}, manifest.Unsigned, "without a signature"},
		{"signed by another", signedBy(strangerKey, unchanged), manifest.SignedByAnother, "trusted keys"},
		{"changed after it was signed", func(f *git.Found) git.Published {
			p := published(releaseKey, manifestOf(f))
			i := bytes.Index(p.Envelope, []byte(`"sig": "`)) + len(`"sig": "`)
			first := byte('A')
			if p.Envelope[i] == first {
				first = 'B'
			}
			p.Envelope[i] = first
			return p
		}, manifest.BadSignature, "not by this key"},
		{"nonsense", func(*git.Found) git.Published { return git.Published{Envelope: []byte("x")} }, manifest.Malformed, "DSSE"},
		{"for another commit", signedBy(releaseKey, func(m *manifest.Manifest) { m.Commit = strings.Repeat("f", 40) }), manifest.OtherCommit, "measure and sign"},
		{"for another tag", signedBy(releaseKey, func(m *manifest.Manifest) { m.Tag = "v1.0.0" }), manifest.OtherTag, "v1.0.0"},
		{"for another repository", signedBy(releaseKey, func(m *manifest.Manifest) { m.Repository = "https://git.test/acme/other" }), manifest.OtherRepository, "acme/other"},
		{"for another config", signedBy(releaseKey, func(m *manifest.Manifest) { m.Config.Digest = "sha256:" + strings.Repeat("0", 64) }), manifest.OtherConfig, "config"},
		{"for other images", signedBy(releaseKey, func(m *manifest.Manifest) { m.Images = []string{"x@sha256:" + strings.Repeat("0", 64)} }), manifest.OtherConfig, "images"},
		{"for another shape", signedBy(releaseKey, func(m *manifest.Manifest) { m.Expected[0].MemoryMiB *= 2 }), manifest.OtherShape, "MiB"},
		{"for debug enclaves only", signedBy(releaseKey, func(m *manifest.Manifest) { m.Expected[0].Debug = true }), manifest.NotMeasured, "production"},
		{"signed with Sigstore where keys are trusted", func(f *git.Found) git.Published {
			text, _ := manifestOf(f).Encode()
			return git.Published{Plain: text, Bundle: []byte("{}")}
		}, manifest.SignedByAnother, "Sigstore"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			cl := connectWith(t, firstGood(c.publish), trusting(nil))
			cl.host()
			cl.secret("API_KEY", "one")
			cl.deploy("api")
			_, creating := cl.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "other", Spec: spec("v1.1.0")})
			_, planning := cl.plan("v1.1.0")
			_, starting := cl.toTag("v1.1.0")
			for call, err := range map[string]error{"CreateContainer": creating, "PlanUpdate": planning, "StartUpdate": starting} {
				want(t, err, codes.FailedPrecondition, string(c.want))
				if !strings.Contains(rpc.Text(err), c.says) {
					t.Errorf("%s says %q, and nothing of %q", call, rpc.Text(err), c.says)
				}
			}
			got, err := cl.containers.GetContainer(t.Context(), &cv1.GetContainerRequest{Org: "acme", Name: "api"})
			if err != nil || got.GetContainer().GetActiveTag() != "v1.0.0" || got.GetContainer().GetActiveUpdate() != "" {
				t.Errorf("after the refusals: %v, %v; want v1.0.0 to serve", got, err)
			}
		})
	}
}

func (c *clients) plan(tag string) (*cv1.Plan, error) {
	r, err := c.updates.PlanUpdate(c.t.Context(), &cv1.PlanUpdateRequest{
		Org: "acme", Container: "api", Spec: spec(tag), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tag"}},
	})
	return r.GetPlan(), err
}

func (c *clients) toTag(tag string) (*cv1.Update, error) {
	r, err := c.updates.StartUpdate(c.t.Context(), &cv1.StartUpdateRequest{
		Org: "acme", Container: "api", Spec: spec(tag), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tag"}},
	})
	return r.GetUpdate(), err
}

// moved takes the container to a tag.
func (c *clients) moved(tag string) {
	c.t.Helper()
	u, err := c.toTag(tag)
	if err != nil {
		c.t.Fatal(err)
	}
	c.await(u)
}

func TestNothingBelowTheFloorIsDeployed(t *testing.T) {
	c := connectWith(t, tags{}, trusting(func(s *releases.Signer) { s.Floor = 2 }))
	c.host()
	c.secret("API_KEY", "one")
	_, err := c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: spec("v1.0.0")})
	want(t, err, codes.FailedPrecondition, "MANIFEST_BELOW_FLOOR")
	if _, err := c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: spec("v1.1.0")}); err != nil {
		t.Errorf("at the floor: %v", err)
	}
}

func TestARollbackIsRefusedOnlyWhereDowngradesAre(t *testing.T) {
	for _, refused := range []bool{false, true} {
		c := connectWith(t, tags{}, trusting(func(s *releases.Signer) { s.NoDowngrades = refused }))
		c.host()
		c.secret("API_KEY", "one")
		c.deploy("api")
		c.moved("v1.1.0")
		_, planning := c.plan("v1.0.0")
		_, starting := c.toTag("v1.0.0")
		for call, err := range map[string]error{"PlanUpdate": planning, "StartUpdate": starting} {
			if refused {
				want(t, err, codes.FailedPrecondition, "MANIFEST_BELOW_FLOOR")
			} else if err != nil {
				t.Errorf("%s: a rollback: %v", call, err)
			}
		}
	}
}

// swapped is a policy that is another one after a restart of the coordinator.
type swapped struct {
	now atomic.Pointer[releases.Policy]
}

func (s *swapped) Judge(ctx context.Context, q releases.Question) (*releases.Approval, error) {
	return s.now.Load().Judge(ctx, q)
}

func TestARedeployIsJudgedAnewAndNeedsNoRepository(t *testing.T) {
	var judge swapped
	judge.now.Store(trusting(nil))
	down := &atomic.Bool{}
	from := tags{func(f *git.Found) git.Published {
		if down.Load() {
			panic("the repository was asked")
		}
		return published(releaseKey, manifestOf(f))
	}}
	c := connectWith(t, from, &judge)
	c.host()
	c.secret("API_KEY", "one")
	c.deploy("api")
	down.Store(true)
	redeploy := &cv1.PlanUpdateRequest{Org: "acme", Container: "api", Spec: &cv1.ContainerSpec{Variables: map[string]string{"LOG_LEVEL": "debug"}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"variables"}}}
	if _, err := c.updates.PlanUpdate(t.Context(), redeploy); err != nil {
		t.Errorf("a redeploy: %v", err)
	}
	judge.now.Store(trusting(func(s *releases.Signer) { s.Keys = []crypto.PublicKey{strangerKey.Public()} }))
	_, err := c.updates.PlanUpdate(t.Context(), redeploy)
	want(t, err, codes.FailedPrecondition, "MANIFEST_SIGNED_BY_ANOTHER")
}

func TestAReleaseThatWasUnsignedIsLookedUpOnceItMustBeSigned(t *testing.T) {
	var judge swapped
	judge.now.Store(releases.New(releases.Config{AllowUnsigned: true}))
	signed := &atomic.Bool{}
	c := connectWith(t, tags{func(f *git.Found) git.Published {
		if !signed.Load() {
			return git.Published{}
		}
		return published(releaseKey, manifestOf(f))
	}}, &judge)
	c.host()
	c.secret("API_KEY", "one")
	c.deploy("api")
	judge.now.Store(trusting(nil))
	redeploy := &cv1.PlanUpdateRequest{Org: "acme", Container: "api"}
	_, err := c.updates.PlanUpdate(t.Context(), redeploy)
	want(t, err, codes.FailedPrecondition, "MANIFEST_MISSING")
	signed.Store(true)
	got, err := c.updates.PlanUpdate(t.Context(), redeploy)
	if err != nil || got.GetPlan().GetManifest().GetNumber() != 1 || len(got.GetPlan().GetInsecure()) > 0 {
		t.Errorf("plan %v, %v; want the manifest that was published meanwhile", got.GetPlan(), err)
	}
}

func TestAPlanSaysWhoSignedAndWhatIsInsecure(t *testing.T) {
	c := connectWith(t, tags{}, trusting(nil))
	c.host()
	c.secret("API_KEY", "one")
	c.deploy("api")
	id, err := manifest.KeyID(releaseKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.plan("v1.1.0")
	if m := p.GetManifest(); err != nil || m.GetNumber() != 2 || m.GetSignedBy() != "key "+id || !strings.HasPrefix(m.GetDigest(), "sha256:") || len(p.GetInsecure()) > 0 {
		t.Errorf("plan %v, %v; want release 2, signed by %s", p, err, id)
	}
	r, err := c.revisions.GetRevision(t.Context(), &cv1.GetRevisionRequest{Org: "acme", Container: "api", Number: 1})
	if m := r.GetRevision().GetManifest(); err != nil || m.GetNumber() != 1 || m.GetSignedBy() != "key "+id {
		t.Errorf("revision %v, %v; want release 1, signed by %s", r.GetRevision(), err, id)
	}
}

func TestUnsignedReleasesAreMarkedWhereTheyAreAllowed(t *testing.T) {
	for rule, c := range map[string]struct {
		cfg  releases.Config
		says string
	}{
		"no signer":   {releases.Config{}, "nobody is trusted"},
		"no manifest": {releases.Config{Signers: []releases.Signer{{Keys: []crypto.PublicKey{releaseKey.Public()}}}}, "no signed manifest"},
	} {
		c.cfg.AllowUnsigned = true
		cl := connectWith(t, tags{func(*git.Found) git.Published { return git.Published{} }}, releases.New(c.cfg))
		cl.host()
		cl.secret("API_KEY", "one")
		cl.deploy("api")
		p, err := cl.plan("v1.1.0")
		if err != nil || !slices.Equal(p.GetInsecure(), []string{"unsigned"}) || p.GetManifest() != nil || !strings.Contains(strings.Join(p.GetWarnings(), "\n"), c.says) {
			t.Errorf("%s: plan %v, %v; want it marked, with a warning that says %q", rule, p, err, c.says)
		}
	}
}

func TestSignersAreOfOrgsAndRepositories(t *testing.T) {
	none := releases.New(releases.Config{Signers: []releases.Signer{
		{Orgs: []string{"other"}, Keys: []crypto.PublicKey{releaseKey.Public()}},
		{Repositories: []string{"https://git.test/acme/*"}, Keys: []crypto.PublicKey{releaseKey.Public()}},
	}})
	c := connectWith(t, tags{}, none)
	c.host()
	c.secret("API_KEY", "one")
	_, err := c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: spec("v1.0.0")})
	want(t, err, codes.FailedPrecondition, "MANIFEST_NO_SIGNER")
	_, err = c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "other", Name: "api", Spec: &cv1.ContainerSpec{Repository: "https://git.test/r", Tag: "v1.0.0"}})
	want(t, err, codes.InvalidArgument, "INPUTS_REFUSED") // the manifest was taken, and a secret is missing
	beneath := spec("v1.0.0")
	beneath.Repository = "ssh://git@git.test/acme/api.git"
	if _, err := c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: beneath}); err != nil {
		t.Errorf("a repository beneath the address: %v", err)
	}
}

func TestAReleaseGoesOnlyWhereItWasMeasured(t *testing.T) {
	c := connectWith(t, tags{signedBy(releaseKey, func(m *manifest.Manifest) {
		e := &m.Expected[0]
		e.Platform, e.VCPUType, e.CommandLine = attest.FormatSEVSNP, "EPYC-Milan", "config="+strings.TrimPrefix(m.Config.Digest, "sha256:")
		e.Firmware, e.Kernel, e.Initrd = m.Config.Digest, m.Config.Digest, m.Config.Digest
	})}, trusting(nil))
	c.host()
	c.secret("API_KEY", "one")
	_, err := c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: spec("v1.0.0")})
	want(t, err, codes.ResourceExhausted, "NO_CAPACITY")
	if !strings.Contains(rpc.Text(err), "for which the release was not measured") {
		t.Errorf("the error says %q, and not that the host's platform is none of the release's", rpc.Text(err))
	}
}
