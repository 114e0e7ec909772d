package ledger

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

const (
	fileVersion = 1
	maxFile     = 8 << 20
)

// envelope is the file's outer form. The digest is over the body's bytes.
type envelope struct {
	Version int             `json:"version"`
	SHA256  string          `json:"sha256"`
	Body    json.RawMessage `json:"body"`
}

// body is the file's content: claims by enclave id and quarantined cards by
// address, both sorted.
type body struct {
	Claims     []Claim      `json:"claims"`
	Quarantine []quarantine `json:"quarantine"`
}

// quarantine is one card that must not be given out.
type quarantine struct {
	BDF      gpu.BDF   `json:"bdf"`
	Why      string    `json:"why"`
	Observed bool      `json:"observed"` // found by Reconcile, which may lift it again
	Since    time.Time `json:"since"`
}

// encode writes a state in the one form that decode accepts.
func encode(s state) ([]byte, error) {
	b := body{Claims: []Claim{}, Quarantine: []quarantine{}}
	for _, c := range s.claims {
		b.Claims = append(b.Claims, c)
	}
	for _, q := range s.quarantine {
		b.Quarantine = append(b.Quarantine, q)
	}
	slices.SortFunc(b.Claims, func(x, y Claim) int { return cmp.Compare(x.EnclaveID, y.EnclaveID) })
	slices.SortFunc(b.Quarantine, func(x, y quarantine) int { return cmp.Compare(x.BDF, y.BDF) })
	inner, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode ledger: %w", err)
	}
	sum := sha256.Sum256(inner)
	outer, err := json.Marshal(envelope{fileVersion, hex.EncodeToString(sum[:]), inner})
	if err != nil {
		return nil, fmt.Errorf("encode ledger: %w", err)
	}
	if len(outer) >= maxFile {
		return nil, fmt.Errorf("encode ledger: %d bytes are more than the %d a ledger may have", len(outer), maxFile)
	}
	return append(outer, '\n'), nil
}

// decode reads what encode wrote, to the byte; anything else is ErrCorrupt.
func decode(content []byte) (state, error) {
	var e envelope
	if err := json.Unmarshal(content, &e); err != nil {
		return state{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if e.Version != fileVersion {
		return state{}, fmt.Errorf("%w: version is %d; this program reads version %d", ErrCorrupt, e.Version, fileVersion)
	}
	if sum := sha256.Sum256(e.Body); e.SHA256 != hex.EncodeToString(sum[:]) {
		return state{}, fmt.Errorf("%w: the digest of its body does not match", ErrCorrupt)
	}
	var b body
	if err := json.Unmarshal(e.Body, &b); err != nil {
		return state{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	s, err := b.state()
	if err != nil {
		return state{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	again, err := encode(s)
	if err != nil || !bytes.Equal(again, content) {
		return state{}, fmt.Errorf("%w: it is not in the form this program writes", ErrCorrupt)
	}
	return s, nil
}

// state checks the body and makes it a state: every claim valid in itself, and
// no card with two holders.
func (b body) state() (state, error) {
	s := newState()
	if len(b.Claims) > maxClaims {
		return state{}, fmt.Errorf("%d claims; at most %d can be", len(b.Claims), maxClaims)
	}
	for _, c := range b.Claims {
		if err := c.validate(); err != nil {
			return state{}, fmt.Errorf("enclave %q: %w", c.EnclaveID, err)
		}
		if c.Phase != PhaseClaimed && c.Phase != PhaseActive && c.Phase != PhaseReleasing {
			return state{}, fmt.Errorf("enclave %q: unknown phase %q", c.EnclaveID, c.Phase)
		}
		held := s.held()
		for _, card := range c.Cards() {
			if holder, ok := held[card]; ok {
				return state{}, fmt.Errorf("card %s is held by %q and %q", card, holder, c.EnclaveID)
			}
		}
		s.claims[c.EnclaveID] = c
	}
	for _, q := range b.Quarantine {
		if canonical, err := gpu.ParseBDF(string(q.BDF)); err != nil || canonical != q.BDF {
			return state{}, fmt.Errorf("%q in quarantine is no canonical PCI address", q.BDF)
		}
		s.quarantine[q.BDF] = q
	}
	return s, nil
}
