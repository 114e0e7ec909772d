package releases

import (
	"crypto"
	"slices"
	"strings"

	"github.com/casemate-dev/casemate/pkg/release/manifest"
	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// Signer says who is trusted to sign the releases of which orgs and repositories.
type Signer struct {
	// Orgs are names of orgs; none means all.
	Orgs []string
	// Repositories are addresses; one that ends with /* stands for everything
	// beneath it, and none means all.
	Repositories []string
	// Keys are trusted for envelopes, Identities for Sigstore bundles.
	Keys       []crypto.PublicKey
	Identities []sigstore.Identity
	// Floor is the lowest number that may be deployed; 0 means any.
	Floor uint64
	// NoDowngrades refuses a number below the highest that the container has served.
	NoDowngrades bool
}

// covers says whether the signer is for an org's repository.
func (s *Signer) covers(org, repository string) bool {
	if len(s.Orgs) > 0 && !slices.Contains(s.Orgs, org) {
		return false
	}
	return len(s.Repositories) == 0 || slices.ContainsFunc(s.Repositories, func(pattern string) bool {
		if above, ok := strings.CutSuffix(pattern, "/*"); ok {
			return manifest.RepositoryBeneath(repository, above)
		}
		return manifest.SameRepository(repository, pattern)
	})
}
