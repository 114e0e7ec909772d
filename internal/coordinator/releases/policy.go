package releases

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// NoSigner says that nobody is trusted to sign releases of this org and repository.
const NoSigner manifest.Reason = "MANIFEST_NO_SIGNER"

// Unsigned is the insecure mode of releases without a signed manifest.
const Unsigned = "unsigned"

// Config says who is trusted.
type Config struct {
	// Signers are asked in their order: the first that covers an org's repository
	// decides alone.
	Signers []Signer
	// AllowUnsigned lets releases be deployed that have no manifest, or for which
	// there is no signer. They are marked.
	AllowUnsigned bool
	// Bundles verifies Sigstore bundles; nil refuses them.
	Bundles manifest.Bundles
}

// Policy judges releases. It is safe for concurrent use.
type Policy struct{ cfg Config }

// New returns a policy. Without signers and AllowUnsigned it refuses everything.
func New(cfg Config) *Policy { return &Policy{cfg} }

// Question is a release that somebody wants to deploy.
type Question struct {
	Org       string
	Release   release.Release
	Published git.Published
	// Debug asks for debug enclaves.
	Debug bool
}

// Approval is what a release may be deployed by.
type Approval struct {
	// Manifest is nil for an unsigned release, and Warning says why it is one.
	Manifest *model.Manifest
	Warning  string
	// Expected are the measurements of the enclaves that were asked for.
	Expected []manifest.Expected
	// NoDowngrades refuses it where a higher number has served.
	NoDowngrades bool
}

// Judge approves a release, or refuses it with a *manifest.RefusedError. Other
// errors mean that it could not be judged.
func (p *Policy) Judge(ctx context.Context, q Question) (*Approval, error) {
	s := p.signer(q.Org, q.Release.Repository)
	if s == nil {
		return p.unsigned(NoSigner, fmt.Sprintf("nobody is trusted to sign releases of %s for the org %s: add a signer to releases.signers of the coordinator", q.Release.Repository, q.Org))
	}
	if q.Published.IsZero() {
		return p.unsigned(manifest.Missing, fmt.Sprintf("%s has no signed manifest at %s%s of %s: make it with casemate release measure, sign and attach, and push it",
			q.Release.Tag, git.ManifestRefs, q.Release.Tag, q.Release.Repository))
	}
	trust := manifest.Trust{Keys: s.Keys, Identities: s.Identities, Bundles: p.cfg.Bundles}
	o, by, err := trust.Open(ctx, manifest.Files(q.Published))
	if err != nil {
		return nil, err
	}
	if err := o.Manifest.Check(manifest.ExpectRelease(q.Release, s.Floor)); err != nil {
		return nil, err
	}
	expected := o.Manifest.Of(q.Debug)
	if len(expected) == 0 {
		return nil, &manifest.RefusedError{Reason: manifest.NotMeasured, Detail: fmt.Sprintf(
			"the manifest of %s says nothing of %s enclaves: measure and sign the release for them, debug enclaves with debug: true in platforms.yaml", q.Release.Tag, kind(q.Debug))}
	}
	return &Approval{Expected: expected, NoDowngrades: s.NoDowngrades, Manifest: &model.Manifest{
		Number: o.Manifest.Number, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(o.Payload)), SignedBy: by,
		Envelope: q.Published.Envelope, Plain: q.Published.Plain, Bundle: q.Published.Bundle,
	}}, nil
}

func kind(debug bool) string {
	if debug {
		return "debug"
	}
	return "production"
}

// signer is the first that covers an org's repository; nil if none does.
func (p *Policy) signer(org, repository string) *Signer {
	for i := range p.cfg.Signers {
		if p.cfg.Signers[i].covers(org, repository) {
			return &p.cfg.Signers[i]
		}
	}
	return nil
}

// unsigned refuses, or lets an unsigned release pass if that is named.
func (p *Policy) unsigned(why manifest.Reason, detail string) (*Approval, error) {
	if !p.cfg.AllowUnsigned {
		return nil, &manifest.RefusedError{Reason: why, Detail: detail}
	}
	return &Approval{Warning: "this release is not signed, and nothing says what its enclaves should measure: " + detail}, nil
}
