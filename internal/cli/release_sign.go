package cli

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/pkg/release/execsigner"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// maxReleaseKeys bounds a file of keys, in bytes.
const maxReleaseKeys = 256 << 10

// releaseSign is one `release sign`.
type releaseSign struct {
	*app
	file, out string
	keys      []string
	program   execsigner.Config
}

func newReleaseSign(a *app) *cobra.Command {
	r := &releaseSign{app: a}
	c := &cobra.Command{
		Use: "sign", Short: "Sign a manifest", Args: cobra.NoArgs,
		Long: `Sign a manifest. The answer is a DSSE envelope that holds the manifest; attach it to
the tag. Keys are PEM files, PKCS #8, ed25519 or ECDSA on P-256 or P-384:

  openssl genpkey -algorithm ed25519 -out release.key
  openssl pkey -in release.key -pubout -out release.pub

A key in an HSM or a key service signs with a program (--signer-command), which is
asked for the public key, then for a signature: docs/releases.md has the protocol.
What it gives is verified before it is used. casemate-sign-pkcs11 is such a program.`,
		Example: "  casemate release sign --manifest manifest.json --key release.key --out manifest.dsse.json\n" +
			"  casemate release sign --manifest manifest.json --signer-command casemate-sign-pkcs11 --signer-arg --module=/usr/lib/softhsm/libsofthsm2.so \\\n" +
			"      --signer-arg --token=release --signer-arg --key=release --signer-arg --pin-file=/run/secrets/pin --out manifest.dsse.json",
		RunE: attestRun(func(cmd *cobra.Command) error { return r.run(cmd.Context()) }),
	}
	f := c.Flags()
	f.StringVar(&r.file, "manifest", "", "the manifest, as release measure writes it")
	f.StringArrayVar(&r.keys, "key", nil, "a private key; repeatable, for several signatures")
	f.StringVar(&r.program.Program, "signer-command", "", "a program that signs, for a key that is in no file")
	f.StringArrayVar(&r.program.Args, "signer-arg", nil, "an argument of that program; repeatable")
	f.DurationVar(&r.program.Timeout, "signer-timeout", execsigner.DefaultTimeout, "how long the program may take to answer")
	f.StringVar(&r.out, "out", "", "write to this file (default stdout)")
	return c
}

func (r *releaseSign) run(ctx context.Context) error {
	switch {
	case r.file == "" || len(r.keys) == 0 && r.program.Program == "":
		return usagef("--manifest names the manifest, --key the private key or --signer-command the program that has it; both are needed")
	case r.program.Program == "" && len(r.program.Args) > 0:
		return usagef("--signer-arg has no meaning without --signer-command")
	case r.program.Timeout <= 0:
		return usagef("--signer-timeout is more than 0")
	}
	text, err := r.attestFile("manifest", r.file, manifest.MaxBytes)
	if err != nil {
		return err
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return fmt.Errorf("--manifest: %w", err)
	}
	signers, err := r.signers(ctx)
	if err != nil {
		return err
	}
	signed, err := manifest.Sign(rand.Reader, m, signers...)
	if err != nil {
		return err
	}
	return r.put(r.out, signed)
}

// signers are the keys in files, and that of the program.
func (r *releaseSign) signers(ctx context.Context) ([]crypto.Signer, error) {
	var out []crypto.Signer
	for _, name := range r.keys {
		pem, err := r.attestFile("key", name, maxReleaseKeys)
		if err != nil {
			return nil, err
		}
		signer, err := manifest.ParseSigner(pem)
		if err != nil {
			return nil, fmt.Errorf("--key %s: %w", name, err)
		}
		out = append(out, signer)
	}
	if r.program.Program == "" {
		return out, nil
	}
	signer, err := execsigner.New(ctx, r.program)
	if err != nil {
		return nil, fmt.Errorf("--signer-command: %w", err)
	}
	return append(out, signer), nil
}
