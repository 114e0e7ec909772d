package coordinator

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/internal/yamlconfig"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// Releases says by whose signature a release may be deployed.
type Releases struct {
	// Signers are asked in their order: the first that covers an org's repository
	// decides alone.
	Signers  []Signer `yaml:"signers"`
	Sigstore Sigstore `yaml:"sigstore"`
}

// Signer is trusted to sign the releases of some orgs and repositories.
type Signer struct {
	// Orgs and Repositories say which; none means all. A repository that ends with
	// /* stands for everything beneath it.
	Orgs         []string `yaml:"orgs"`
	Repositories []string `yaml:"repositories"`
	// Keys are files with public keys, PEM.
	Keys []string `yaml:"keys"`
	// Identities sign with Sigstore.
	Identities []SignerIdentity `yaml:"identities"`
	// Floor is the lowest number of a release that may be deployed.
	Floor uint64 `yaml:"floor"`
	// Downgrades is allow or refuse: whether a container may go back to a release
	// whose number is lower than that of one it has served.
	Downgrades string `yaml:"downgrades"`
}

// SignerIdentity is the name in a certificate of Sigstore's, and who vouched for it.
type SignerIdentity struct {
	Issuer  string `yaml:"issuer"`
	Subject string `yaml:"subject"`
}

// Sigstore says how Sigstore bundles are verified.
type Sigstore struct {
	// Helper is the program casemate-sigstore.
	Helper string `yaml:"helper"`
	// TrustedRoot is the file trusted_root.json; without it no bundle is accepted.
	TrustedRoot string `yaml:"trusted_root"`
	// Timeout bounds one question to the helper.
	Timeout time.Duration `yaml:"timeout"`
}

// What Downgrades may be.
const (
	downgradesAllow  = "allow"
	downgradesRefuse = "refuse"
)

// validate says what is wrong, file contents apart.
func (r *Releases) validate(need func(ok bool, key, text string)) {
	bundles := false
	for i, s := range r.Signers {
		key := fmt.Sprintf("releases.signers[%d]", i)
		need(len(s.Keys)+len(s.Identities) > 0, key, "names nobody: give keys, identities, or both")
		need(s.Downgrades == "" || s.Downgrades == downgradesAllow || s.Downgrades == downgradesRefuse, key+".downgrades", "is allow (the default) or refuse")
		for _, p := range s.Repositories {
			head := strings.TrimSuffix(p, "/*")
			need(head != "" && !strings.Contains(head, "*"), key+".repositories", p+" is neither an address nor one that ends with /*")
		}
		for _, id := range s.Identities {
			bundles = true
			if err := (sigstore.Identity{Issuer: id.Issuer, Subject: id.Subject}).Check(); err != nil {
				need(false, key+".identities", err.Error())
			}
		}
	}
	need(!bundles || r.Sigstore.TrustedRoot != "", "releases.sigstore.trusted_root", "is required with identities: Sigstore's trusted_root.json, fetched and checked beforehand")
	need(!bundles || r.Sigstore.Helper != "", "releases.sigstore.helper", "is required with identities: the path of casemate-sigstore")
	need(r.Sigstore.Timeout > 0, "releases.sigstore.timeout", "must be more than 0, such as 30s")
}

// policy reads the keys and the trusted root.
func (r *Releases) policy(allowUnsigned bool) (*releases.Policy, error) {
	cfg := releases.Config{AllowUnsigned: allowUnsigned}
	for i, s := range r.Signers {
		signer := releases.Signer{
			Orgs: s.Orgs, Repositories: s.Repositories, Floor: s.Floor, NoDowngrades: s.Downgrades == downgradesRefuse,
		}
		for _, name := range s.Keys {
			pem, err := readBounded(name, maxKeyFile)
			if err != nil {
				return nil, yamlconfig.Problem(fmt.Sprintf("releases.signers[%d].keys", i), "%s", err)
			}
			keys, err := manifest.ParseKeys(pem)
			if err != nil {
				return nil, yamlconfig.Problem(fmt.Sprintf("releases.signers[%d].keys", i), "%s: %s", name, err)
			}
			signer.Keys = append(signer.Keys, keys...)
		}
		for _, id := range s.Identities {
			signer.Identities = append(signer.Identities, sigstore.Identity{Issuer: id.Issuer, Subject: id.Subject})
		}
		cfg.Signers = append(cfg.Signers, signer)
	}
	if r.Sigstore.TrustedRoot != "" {
		root, err := readBounded(r.Sigstore.TrustedRoot, sigstore.MaxTrustedRootBytes)
		if err != nil {
			return nil, yamlconfig.Problem("releases.sigstore.trusted_root", "%s", err)
		}
		cfg.Bundles = &sigstore.Verifier{Helper: r.Sigstore.Helper, TrustedRoot: root, Timeout: r.Sigstore.Timeout}
	}
	return releases.New(cfg), nil
}

// maxKeyFile bounds a file of public keys, in bytes.
const maxKeyFile = 256 << 10

// readBounded reads a file that has no more bytes than limit.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return data, nil
}
