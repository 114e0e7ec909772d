package cli

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// releaseVerify is one `release verify`.
type releaseVerify struct {
	*app
	signed, plain, config   string
	keys                    []string
	bundle                  string
	identity                identityTrust
	repository, tag, commit string
	floor                   uint64
}

func newReleaseVerify(a *app) *cobra.Command {
	v := &releaseVerify{app: a}
	c := &cobra.Command{
		Use: "verify", Short: "Say whether a signed manifest is accepted", Args: cobra.NoArgs,
		Long: `Say whether a signed manifest is accepted: signed by one of the keys, and for the
repository, tag, commit and config that are named. What isn't named is not
compared. A file that isn't there is refused as missing.

Signed is the envelope of release sign (--signed, --key), or the manifest itself by
a Sigstore bundle (--manifest, --bundle, --trusted-root, --issuer, --subject). For
bundles the program casemate-sigstore must be installed; it needs no network.

Exit codes: 0 accepted; 1 refused, with the reason's name; 2 arguments or files
that can't be used.`,
		Example: "  casemate release verify --signed manifest.dsse.json --key release.pub --commit $(git rev-parse HEAD) --config casemate.yml -o json\n" +
			"  casemate release verify --manifest manifest.json --bundle manifest.sigstore.json --trusted-root trusted_root.json \\\n" +
			"      --issuer https://token.actions.githubusercontent.com --subject https://github.com/acme/api/.github/workflows/release.yaml@refs/heads/main",
		RunE: attestRun(func(cmd *cobra.Command) error { return v.run(cmd.Context()) }),
	}
	f := c.Flags()
	f.StringVar(&v.signed, "signed", "", "the envelope, as release sign writes it")
	f.StringVar(&v.plain, "manifest", "", "a manifest that must be the one in the envelope, or that the bundle is over")
	f.StringArrayVar(&v.keys, "key", nil, "a file with trusted public keys, PEM; repeatable")
	f.StringVar(&v.repository, "repository", "", "the repository that it must be for")
	f.StringVar(&v.tag, "tag", "", "the tag that it must be for")
	f.StringVar(&v.commit, "commit", "", "the commit that it must be for")
	f.StringVar(&v.config, "config", "", "the config file that it must be for")
	f.StringVar(&v.bundle, "bundle", "", bundleFlag)
	v.identity.flags(f, "")
	f.Uint64Var(&v.floor, "floor", 0, "the lowest number that is accepted")
	return c
}

func (v *releaseVerify) run(ctx context.Context) error {
	byKey := v.signed != "" || len(v.keys) > 0
	switch {
	case byKey == v.byBundle():
		return usagef("give --signed and --key, for an envelope; or --bundle, --manifest, --trusted-root, --issuer and --subject, for a Sigstore bundle")
	case byKey && (v.signed == "" || len(v.keys) == 0):
		return usagef("--signed names the envelope, --key the trusted public keys; both are needed")
	}
	keys, want, err := v.expectations()
	if err != nil {
		return err
	}
	m, by, err := v.open(ctx, keys)
	if err == nil {
		err = m.Check(want)
	}
	if err == nil && byKey && v.plain != "" {
		err = v.same(m)
	}
	var refused *manifest.RefusedError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	if err := v.show(m, by, refused); err != nil {
		return err
	}
	if refused != nil {
		return told(ExitFailed, "the manifest is refused")
	}
	return nil
}

// byBundle says whether a flag for Sigstore bundles was given.
func (v *releaseVerify) byBundle() bool { return v.bundle != "" || v.identity.named() }

// open verifies the signature, and says by whom it is.
func (v *releaseVerify) open(ctx context.Context, keys []crypto.PublicKey) (*manifest.Manifest, string, error) {
	if v.byBundle() {
		return v.openBundle(ctx)
	}
	signed, err := v.present("signed", v.signed, manifest.MaxEnvelopeBytes)
	if err != nil {
		return nil, "", err
	}
	o, err := manifest.Open(signed, keys)
	if err != nil {
		return nil, "", err
	}
	return o.Manifest, "key " + o.KeyID, nil
}

// present reads a file; one that isn't there is empty.
func (v *releaseVerify) present(flag, path string, limit int64) ([]byte, error) {
	b, err := v.attestFile(flag, path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// expectations reads the trusted keys and what the manifest must be for.
func (v *releaseVerify) expectations() ([]crypto.PublicKey, manifest.Expect, error) {
	want := manifest.Expect{Repository: v.repository, Tag: v.tag, Commit: v.commit, Floor: v.floor}
	var keys []crypto.PublicKey
	for _, name := range v.keys {
		pem, err := v.attestFile("key", name, maxReleaseKeys)
		if err != nil {
			return nil, want, err
		}
		more, err := manifest.ParseKeys(pem)
		if err != nil {
			return nil, want, fmt.Errorf("--key %s: %w", name, err)
		}
		keys = append(keys, more...)
	}
	if v.config != "" {
		config, err := v.readConfig(v.config)
		if err != nil {
			return nil, want, err
		}
		want.Config = config
	}
	return keys, want, nil
}

// same refuses a manifest beside the envelope that isn't the one in it.
func (v *releaseVerify) same(m *manifest.Manifest) error {
	text, err := v.attestFile("manifest", v.plain, manifest.MaxBytes)
	if err != nil {
		return err
	}
	inside, err := m.Encode()
	if err != nil {
		return err
	}
	if !bytes.Equal(inside, text) {
		return &manifest.RefusedError{Reason: manifest.Malformed, Detail: v.plain + " is not the manifest in the envelope"}
	}
	return nil
}

// verified is the answer for programs.
type verified struct {
	Accepted bool               `json:"accepted"`
	Reason   manifest.Reason    `json:"reason,omitempty"`
	Detail   string             `json:"detail,omitempty"`
	SignedBy string             `json:"signed_by,omitempty"`
	Manifest *manifest.Manifest `json:"manifest,omitempty"`
}

func (v *releaseVerify) show(m *manifest.Manifest, by string, refused *manifest.RefusedError) error {
	answer := verified{Accepted: refused == nil, SignedBy: by, Manifest: m}
	if refused != nil {
		answer = verified{Reason: refused.Reason, Detail: refused.Detail}
	}
	if v.machine() {
		data, err := json.Marshal(answer)
		if err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		return v.structured(data)
	}
	s := v.view(v.env.OutTerminal).Style
	if refused != nil {
		return write(v.env.Out, s.Bad("✗")+" refused: "+attestClean(refused.Detail)+" ["+string(refused.Reason)+"]\n")
	}
	text := fmt.Sprintf("%s accepted: %s of %s, number %d\n  signed by %s\n  commit %s\n  config %s\n", s.Good("✓"), m.Tag, m.Repository, m.Number, attestClean(by), m.Commit, m.Config.Digest)
	for _, e := range m.Expected {
		text += fmt.Sprintf("  %s on %s %s: %d CPUs, %d MiB, %d GPUs\n", e.Shape, e.Platform, e.VCPUType, e.CPUs, e.MemoryMiB, e.GPUs)
	}
	return write(v.env.Out, text)
}
