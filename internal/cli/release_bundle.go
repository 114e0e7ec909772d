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

// bundleFlag describes --bundle.
const bundleFlag = "the Sigstore bundle over --manifest, as cosign sign-blob --bundle writes it"

// identityTrust are the flags that say which identity's Sigstore bundles to believe,
// and by what.
type identityTrust struct {
	root, helper string
	who          sigstore.Identity
}

// flags adds the flags; when begins their descriptions.
func (t *identityTrust) flags(f *pflag.FlagSet, when string) {
	f.StringVar(&t.root, "trusted-root", "", when+"Sigstore's trusted_root.json: the CAs and logs to believe")
	f.StringVar(&t.who.Issuer, "issuer", "", when+"the OpenID Connect issuer that vouched for who signed")
	f.StringVar(&t.who.Subject, "subject", "", when+"who signed, as the certificate has it; patterns are not taken")
	f.StringVar(&t.helper, "sigstore", "", when+"the program casemate-sigstore (default beside casemate, or in PATH)")
}

// named says whether one of the flags was given.
func (t *identityTrust) named() bool { return *t != (identityTrust{}) }

// complete says whether all flags were given that have to be.
func (t *identityTrust) complete() bool {
	return t.root != "" && t.who.Issuer != "" && t.who.Subject != ""
}

// trust makes what verifies bundles by that identity.
func (a *app) trust(t *identityTrust) (manifest.Trust, error) {
	none := manifest.Trust{}
	if err := t.who.Check(); err != nil {
		return none, usagef("--issuer and --subject: %w", err)
	}
	root, err := a.attestFile("trusted-root", t.root, sigstore.MaxTrustedRootBytes)
	if err != nil {
		return none, err
	}
	program, err := t.program()
	if err != nil {
		return none, err
	}
	return manifest.Trust{Identities: []sigstore.Identity{t.who}, Bundles: &sigstore.Verifier{Helper: program, TrustedRoot: root}}, nil
}

// openedBy says what to do where casemate-sigstore gives no answer.
func openedBy(o *manifest.Opened, by string, err error) (*manifest.Manifest, string, error) {
	if errors.Is(err, sigstore.ErrUnavailable) {
		return nil, "", usagef("%w; its version must be that of casemate, and --trusted-root a trusted_root.json", err)
	}
	if err != nil {
		return nil, "", err
	}
	return o.Manifest, by, nil
}

// program finds casemate-sigstore.
func (t *identityTrust) program() (string, error) {
	const install = "Sigstore bundles are verified by a program of its own, casemate-sigstore: " +
		"install it beside casemate or in PATH (make build leaves it in bin/), or name it with --sigstore FILE"
	if t.helper != "" {
		if _, err := exec.LookPath(t.helper); err != nil {
			return "", usagef("--sigstore: %w; %s", err, install)
		}
		return filepath.Abs(t.helper)
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
	if v.bundle == "" || v.plain == "" || !v.identity.complete() {
		return nil, "", usagef("--bundle, --manifest, --trusted-root, --issuer and --subject belong together")
	}
	trust, err := v.trust(&v.identity)
	if err != nil {
		return nil, "", err
	}
	bundle, err := v.present("bundle", v.bundle, sigstore.MaxBundleBytes)
	if err != nil {
		return nil, "", err
	}
	plain, err := v.present("manifest", v.plain, manifest.MaxBytes)
	if err != nil {
		return nil, "", err
	}
	o, who, err := manifest.OpenBundle(ctx, trust.Bundles, plain, bundle, trust.Identities)
	return openedBy(o, who.String(), err)
}
