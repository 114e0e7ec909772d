package policy

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
)

// maxSimulatedRoots bounds Simulated.Roots.
const maxSimulatedRoots = 16

// Simulated names evidence of enclaves that have no hardware. It counts where a
// whole enclave is judged (package judge); every verdict that needed it carries
// the mark "simulated".
type Simulated struct {
	// Roots are the SHA-256 of root certificates, in lower-case hex, that sign
	// reports, quotes or device evidence without any hardware.
	Roots []string `yaml:"roots,omitempty"`
	// Unsigned accepts the format "simulated", which nobody signs.
	Unsigned bool `yaml:"unsigned,omitempty"`
}

// Fingerprint is a root's name in Simulated.Roots.
func Fingerprint(root *x509.Certificate) string {
	sum := sha256.Sum256(root.Raw)
	return hex.EncodeToString(sum[:])
}

// Names tells whether the policy accepts evidence under a simulated root.
func (s *Simulated) Names(root *x509.Certificate) bool {
	return s != nil && slices.Contains(s.Roots, Fingerprint(root))
}

func (s *Simulated) validate() error {
	if len(s.Roots) > maxSimulatedRoots {
		return fmt.Errorf("roots: %d are named, at most %d", len(s.Roots), maxSimulatedRoots)
	}
	for i, name := range s.Roots {
		raw, err := hex.DecodeString(name)
		if err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != name {
			return fmt.Errorf("roots: %.80q is not the SHA-256 of a certificate in lower-case hex", name)
		}
		if slices.Contains(s.Roots[:i], name) {
			return fmt.Errorf("roots: %s stands twice", name)
		}
	}
	return nil
}
