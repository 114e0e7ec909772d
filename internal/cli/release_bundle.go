package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/casemate-dev/casemate/pkg/release/manifest"
	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// sigstoreName is the program that verifies bundles.
const sigstoreName = "casemate-sigstore"

// releaseBundle are the flags that say by which Sigstore bundle a manifest is signed,
// and whom to believe.
type releaseBundle struct {
	file, root, helper string
	who                sigstore.Identity
}

func (b *releaseBundle) flags(f *pflag.FlagSet) {
	f.StringVar(&b.file, "bundle", "", "the Sigstore bundle over --manifest, as cosign sign-blob --bundle writes it")
	f.StringVar(&b.root, "trusted-root", "", "Sigstore's trusted_root.json: the CAs and logs to believe")
	f.StringVar(&b.who.Issuer, "issuer", "", "the OpenID Connect issuer that vouched for who signed")
	f.StringVar(&b.who.Subject, "subject", "", "who signed, as the certificate has it; patterns are not taken")
	f.StringVar(&b.helper, "sigstore", "", "the program casemate-sigstore (default beside casemate, or in PATH)")
}

// named says whether one of the flags was given.
func (b *releaseBundle) named() bool { return *b != (releaseBundle{}) }

// program finds casemate-sigstore.
func (b *releaseBundle) program() (string, error) {
	const install = "Sigstore bundles are verified by a program of its own, casemate-sigstore: " +
		"install it beside casemate or in PATH (make build leaves it in bin/), or name it with --sigstore FILE"
	if b.helper != "" {
		if _, err := exec.LookPath(b.helper); err != nil {
			return "", usagef("--sigstore: %w; %s", err, install)
		}
		return filepath.Abs(b.helper)
	}
	if own, err := os.Executable(); err == nil {
		if beside, err := exec.LookPath(filepath.Join(filepath.Dir(own), sigstoreName)); err == nil {
			return beside, nil
		}
	}
	found, err := exec.LookPath(sigstoreName)
	if err != nil {
		return "", usagef("casemate-sigstore isn't installed: %s", install)
	}
	return found, nil
}

// openBundle verifies the bundle over --manifest.
func (v *releaseVerify) openBundle(ctx context.Context) (*manifest.Manifest, string, error) {
	b := &v.bundle
	if b.file == "" || v.plain == "" || b.root == "" || b.who.Issuer == "" || b.who.Subject == "" {
		return nil, "", usagef("--bundle, --manifest, --trusted-root, --issuer and --subject belong together")
	}
	if err := b.who.Check(); err != nil {
		return nil, "", usagef("--issuer and --subject: %w", err)
	}
	root, err := v.attestFile("trusted-root", b.root, sigstore.MaxTrustedRootBytes)
	if err != nil {
		return nil, "", err
	}
	bundle, err := v.present("bundle", b.file, sigstore.MaxBundleBytes)
	if err != nil {
		return nil, "", err
	}
	plain, err := v.present("manifest", v.plain, manifest.MaxBytes)
	if err != nil {
		return nil, "", err
	}
	program, err := b.program()
	if err != nil {
		return nil, "", err
	}
	o, who, err := manifest.OpenBundle(ctx, &sigstore.Verifier{Helper: program, TrustedRoot: root}, plain, bundle, []sigstore.Identity{b.who})
	if errors.Is(err, sigstore.ErrUnavailable) {
		return nil, "", usagef("%w; its version must be that of casemate, and --trusted-root a trusted_root.json", err)
	}
	if err != nil {
		return nil, "", err
	}
	return o.Manifest, who.String(), nil
}
