package cli

import (
	"crypto"
	"crypto/rand"
	"fmt"

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
