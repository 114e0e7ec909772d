package cli

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// maxReleaseKeys bounds a file of keys, in bytes.
const maxReleaseKeys = 256 << 10

func newReleaseSign(a *app) *cobra.Command {
	var file, out string
	var keys []string
	c := &cobra.Command{
		Use: "sign", Short: "Sign a manifest", Args: cobra.NoArgs,
		Long: `Sign a manifest. The answer is a DSSE envelope that holds the manifest; publish it
with the tag. Keys are PEM files, PKCS #8, ed25519 or ECDSA on P-256 or P-384:

  openssl genpkey -algorithm ed25519 -out release.key
  openssl pkey -in release.key -pubout -out release.pub`,
		Example: "  casemate release sign --manifest manifest.json --key release.key --out manifest.dsse.json",
		RunE: attestRun(func(*cobra.Command) error {
			if file == "" || len(keys) == 0 {
				return usagef("--manifest names the manifest, --key the private key; both are needed")
			}
			return a.signManifest(file, keys, out)
		}),
	}
	c.Flags().StringVar(&file, "manifest", "", "the manifest, as release measure writes it")
	c.Flags().StringArrayVar(&keys, "key", nil, "a private key; repeatable, for several signatures")
	c.Flags().StringVar(&out, "out", "", "write to this file (default stdout)")
	return c
}

func (a *app) signManifest(file string, keys []string, out string) error {
	text, err := a.attestFile("manifest", file, manifest.MaxBytes)
	if err != nil {
		return err
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return fmt.Errorf("--manifest: %w", err)
	}
	var signers []crypto.Signer
	for _, name := range keys {
		pem, err := a.attestFile("key", name, maxReleaseKeys)
		if err != nil {
			return err
		}
		signer, err := manifest.ParseSigner(pem)
		if err != nil {
			return fmt.Errorf("--key %s: %w", name, err)
		}
		signers = append(signers, signer)
	}
	signed, err := manifest.Sign(rand.Reader, m, signers...)
	if err != nil {
		return err
	}
	return a.put(out, signed)
}

// releaseVerify is one `release verify`.
type releaseVerify struct {
	*app
	signed, plain, config   string
	keys                    []string
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

Exit codes: 0 accepted; 1 refused, with the reason's name; 2 arguments or files
that can't be used.`,
		Example: "  casemate release verify --signed manifest.dsse.json --key release.pub --commit $(git rev-parse HEAD) --config casemate.yml -o json",
		RunE:    attestRun(func(*cobra.Command) error { return v.run() }),
	}
	f := c.Flags()
	f.StringVar(&v.signed, "signed", "", "the envelope, as release sign writes it")
	f.StringVar(&v.plain, "manifest", "", "a manifest that must be the one in the envelope")
	f.StringArrayVar(&v.keys, "key", nil, "a file with trusted public keys, PEM; repeatable")
	f.StringVar(&v.repository, "repository", "", "the repository that it must be for")
	f.StringVar(&v.tag, "tag", "", "the tag that it must be for")
	f.StringVar(&v.commit, "commit", "", "the commit that it must be for")
	f.StringVar(&v.config, "config", "", "the config file that it must be for")
	f.Uint64Var(&v.floor, "floor", 0, "the lowest number that is accepted")
	return c
}

func (v *releaseVerify) run() error {
	if v.signed == "" || len(v.keys) == 0 {
		return usagef("--signed names the envelope, --key the trusted public keys; both are needed")
	}
	keys, want, err := v.expectations()
	if err != nil {
		return err
	}
	signed, err := v.attestFile("signed", v.signed, manifest.MaxEnvelopeBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m, err := manifest.Verify(signed, keys, want)
	if err == nil && v.plain != "" {
		err = v.same(m)
	}
	var refused *manifest.RefusedError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	if err := v.show(m, refused); err != nil {
		return err
	}
	if refused != nil {
		return told(ExitFailed, "the manifest is refused")
	}
	return nil
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
	Manifest *manifest.Manifest `json:"manifest,omitempty"`
}

func (v *releaseVerify) show(m *manifest.Manifest, refused *manifest.RefusedError) error {
	answer := verified{Accepted: refused == nil, Manifest: m}
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
	text := fmt.Sprintf("%s accepted: %s of %s, number %d\n  commit %s\n  config %s\n", s.Good("✓"), m.Tag, m.Repository, m.Number, m.Commit, m.Config.Digest)
	for _, e := range m.Expected {
		text += fmt.Sprintf("  %s on %s %s: %d CPUs, %d MiB, %d GPUs\n", e.Shape, e.Platform, e.VCPUType, e.CPUs, e.MemoryMiB, e.GPUs)
	}
	return write(v.env.Out, text)
}
