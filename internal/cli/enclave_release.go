package cli

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"github.com/casemate-dev/casemate/pkg/enclave/attested"
	"github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// howToPin says what to give where nothing says what must run.
const howToPin = `nothing says what must run there: give the release's signed manifest (--manifest FILE, or --repo URL and
--tag TAG beside which it was pushed) and who must have signed it (--signer FILE, or --trusted-root, --issuer and
--subject for Sigstore); or say --not-pinned release, and the verdict will not tell what runs there`

// checkRelease says which flags about the release can't stand together.
func (p *enclavePins) checkRelease(anyRelease bool) error {
	fromRepo, signed := p.repo != "" || p.tag != "", len(p.signers) > 0 || p.identity.named()
	switch {
	case anyRelease && (p.manifest != "" || p.bundle != "" || fromRepo || signed || p.floor != 0):
		return usagef("--not-pinned release excludes --manifest, --bundle, --repo, --tag, --floor, and who signed")
	case anyRelease:
		return nil
	case fromRepo && (p.repo == "" || p.tag == ""):
		return usagef("--repo and --tag belong together")
	case p.manifest == "" && !fromRepo:
		return usagef("%s", howToPin)
	case !signed:
		return usagef("--signer is missing: a manifest counts for nothing unless it is known who must have signed it (or --trusted-root, --issuer and --subject, with Sigstore)")
	case p.identity.named() && !p.identity.complete():
		return usagef("--trusted-root, --issuer and --subject belong together")
	}
	return p.checkFiles()
}

// checkFiles wants the files that are named to be of the kind that is trusted.
func (p *enclavePins) checkFiles() error {
	switch {
	case p.bundle != "" && p.manifest == "":
		return usagef("--bundle is over the file of --manifest, which is missing")
	case p.bundle != "" && !p.identity.named():
		return usagef("--bundle counts by an identity: give --trusted-root, --issuer and --subject")
	case p.bundle != "" && len(p.signers) > 0:
		return usagef("--bundle counts by an identity and an envelope by --signer: give one of them")
	case p.manifest != "" && p.bundle == "" && p.identity.named():
		return usagef("--manifest alone is an envelope, and counts by --signer: with --trusted-root, --issuer and --subject give the --bundle over it")
	}
	return nil
}

// pinnedRelease reads the release that must run. It is nil if whoever called accepts
// any; a manifest that is refused gives a *manifest.RefusedError.
func (a *app) pinnedRelease(ctx context.Context, p *enclavePins) (*attested.Release, error) {
	for _, what := range p.notPinned {
		if what != attested.NotPinnedRelease {
			return nil, usagef("--not-pinned is release, not %.80q", what)
		}
	}
	anyRelease := slices.Contains(p.notPinned, attested.NotPinnedRelease)
	if err := p.checkRelease(anyRelease); err != nil || anyRelease {
		return nil, err
	}
	m, by, err := a.readManifest(ctx, p)
	if err != nil {
		return nil, err
	}
	release, err := attested.FromManifest(m)
	if err != nil {
		return nil, &manifest.RefusedError{Reason: manifest.Malformed, Detail: err.Error()}
	}
	release.Name += ", signed by " + by
	return release, nil
}

// signers reads who is trusted to sign.
func (a *app) signers(p *enclavePins) (manifest.Trust, error) {
	var trust manifest.Trust
	if p.identity.named() {
		var err error
		if trust, err = a.trust(&p.identity); err != nil {
			return trust, err
		}
	}
	keys, err := a.signerKeys(p.signers)
	trust.Keys = keys
	return trust, err
}

// signerKeys reads the keys that are trusted to sign.
func (a *app) signerKeys(files []string) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for _, name := range files {
		pem, err := a.attestFile("signer", name, maxReleaseKeys)
		if err != nil {
			return nil, err
		}
		more, err := manifest.ParseKeys(pem)
		if err != nil {
			return nil, fmt.Errorf("--signer %s: %w", name, err)
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

// readManifest reads and verifies the manifest: that of --manifest, or else what was
// pushed beside the tag. If a tag is named it must be for what the tag holds. It says
// by whom it is signed.
func (a *app) readManifest(ctx context.Context, p *enclavePins) (*manifest.Manifest, string, error) {
	trust, err := a.signers(p)
	if err != nil {
		return nil, "", err
	}
	files, err := a.manifestFiles(p)
	if err != nil {
		return nil, "", err
	}
	want := manifest.Expect{Floor: p.floor}
	if p.repo != "" {
		found, err := resolve(ctx, p.repo, p.tag)
		if err != nil {
			return nil, "", err
		}
		r, _, err := found.Release()
		if err != nil {
			return nil, "", err
		}
		want = manifest.ExpectRelease(*r, p.floor)
		if p.manifest == "" {
			if files, err = pushed(found, trust); err != nil {
				return nil, "", err
			}
		}
	}
	m, by, err := openedBy(trust.Open(ctx, files))
	if err != nil {
		return nil, "", err
	}
	if err := m.Check(want); err != nil {
		return nil, "", err
	}
	return m, by, nil
}

// manifestFiles reads --manifest: an envelope, or the manifest itself beside --bundle.
func (a *app) manifestFiles(p *enclavePins) (files manifest.Files, err error) {
	if p.bundle == "" {
		files.Envelope, err = a.attestFile("manifest", p.manifest, manifest.MaxEnvelopeBytes)
		return files, err
	}
	if files.Plain, err = a.attestFile("manifest", p.manifest, manifest.MaxBytes); err != nil {
		return files, err
	}
	files.Bundle, err = a.attestFile("bundle", p.bundle, sigstore.MaxBundleBytes)
	return files, err
}

// resolve reads a tag and what was pushed beside it, without credentials. A manifest
// there that can't be read is a refusal, as it is for the coordinator.
func resolve(ctx context.Context, repo, tag string) (*git.Found, error) {
	resolver, err := git.New(git.Config{LocalPaths: true})
	if err != nil {
		return nil, err
	}
	found, err := resolver.Resolve(ctx, git.Request{Repository: repo, Tag: tag})
	if errors.Is(err, git.ErrManifest) {
		return nil, &manifest.RefusedError{Reason: manifest.Malformed, Detail: err.Error()}
	}
	return found, err
}

// pushed are the files beside a tag. One that is signed with Sigstore alone, where only
// keys are trusted, is signed by somebody else.
func pushed(found *git.Found, trust manifest.Trust) (manifest.Files, error) {
	at := git.ManifestRefs + found.Tag + " of " + found.Repository
	switch files := found.Manifest; {
	case files.IsZero():
		return manifest.Files{}, &manifest.RefusedError{Reason: manifest.Missing, Detail: "there is no manifest at " + at}
	case files.Envelope == nil && files.Bundle != nil && trust.Bundles == nil:
		return manifest.Files{}, &manifest.RefusedError{Reason: manifest.SignedByAnother, Detail: at + " is signed with Sigstore only, and --signer names keys: say who signs there with --trusted-root, --issuer and --subject"}
	}
	return manifest.Files(found.Manifest), nil
}
