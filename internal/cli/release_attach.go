package cli

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// releaseAttach is one `release attach`.
type releaseAttach struct {
	*app
	dir, signed, plain, bundle string
}

func newReleaseAttach(a *app) *cobra.Command {
	r := &releaseAttach{app: a}
	c := &cobra.Command{
		Use: "attach", Short: "Put a signed manifest beside its tag, ready to be pushed", Args: cobra.NoArgs,
		Long: `Put a signed manifest beside its tag in the local repository, as the reference
refs/casemate/manifests/TAG: there the coordinator looks for it. The tag must be in
the repository and name the manifest's commit. The reference is printed; push it,
with --force to take the place of one that was pushed before.`,
		Example: `  git push origin "$(casemate release attach --signed manifest.dsse.json)"
  casemate release attach --manifest manifest.json --bundle manifest.sigstore.json`,
		RunE: attestRun(func(*cobra.Command) error { return r.run() }),
	}
	f := c.Flags()
	f.StringVarP(&r.dir, "directory", "C", ".", "a folder of the repository")
	f.StringVar(&r.signed, "signed", "", "the envelope, as release sign writes it")
	f.StringVar(&r.plain, "manifest", "", "the manifest that a Sigstore bundle is over")
	f.StringVar(&r.bundle, "bundle", "", "the Sigstore bundle")
	return c
}

func (r *releaseAttach) run() error {
	if r.signed == "" && r.bundle == "" || (r.bundle == "") != (r.plain == "") {
		return usagef("give --signed, or --manifest and --bundle, or all three")
	}
	var files git.Published
	for _, f := range []struct {
		flag, path string
		to         *[]byte
	}{{"signed", r.signed, &files.Envelope}, {"manifest", r.plain, &files.Plain}, {"bundle", r.bundle, &files.Bundle}} {
		if f.path == "" {
			continue
		}
		var err error
		if *f.to, err = r.attestFile(f.flag, f.path, git.MaxManifestBytes); err != nil {
			return err
		}
	}
	m, err := inside(files)
	if err != nil {
		return err
	}
	ref, err := git.Attach(r.dir, m.Tag, m.Commit, files, r.env.Now())
	if err != nil {
		return err
	}
	return write(r.env.Out, ref+"\n")
}

// inside reads the manifest in the files; if it stands in two of them, it must be
// the same.
func inside(files git.Published) (*manifest.Manifest, error) {
	var m *manifest.Manifest
	var err error
	if files.Envelope != nil {
		if m, err = manifest.Inside(files.Envelope); err != nil {
			return nil, fmt.Errorf("--signed: %w", err)
		}
	}
	if files.Plain == nil {
		return m, nil
	}
	plain, err := manifest.Parse(files.Plain)
	if err != nil {
		return nil, fmt.Errorf("--manifest: %w", err)
	}
	if m != nil {
		text, err := m.Encode()
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(text, files.Plain) {
			return nil, usagef("--manifest is not the manifest in --signed")
		}
	}
	return plain, nil
}
