package manifest

import (
	"bytes"
	"cmp"
	"crypto"
	"fmt"
	"slices"

	"github.com/casemate-dev/casemate/pkg/release"
)

// Reason names why a manifest is refused. Reasons are stable.
type Reason string

// The reasons.
const (
	// Missing: the release has no signed manifest.
	Missing Reason = "MANIFEST_MISSING"
	// Malformed: envelope or manifest can't be read.
	Malformed Reason = "MANIFEST_MALFORMED"
	// Unsigned: the envelope has no signature.
	Unsigned Reason = "MANIFEST_UNSIGNED"
	// SignedByAnother: no signature is by a trusted key.
	SignedByAnother Reason = "MANIFEST_SIGNED_BY_ANOTHER"
	// BadSignature: a signature names a trusted key and is not by it.
	BadSignature Reason = "MANIFEST_BAD_SIGNATURE"
	// OtherRepository, OtherTag, OtherCommit: it is the manifest of another release.
	OtherRepository Reason = "MANIFEST_OTHER_REPOSITORY"
	OtherTag        Reason = "MANIFEST_OTHER_TAG"
	OtherCommit     Reason = "MANIFEST_OTHER_COMMIT"
	// OtherConfig: it is for another config file, or says other images.
	OtherConfig Reason = "MANIFEST_OTHER_CONFIG"
	// OtherShape: it is measured for machines of another size than the config's.
	OtherShape Reason = "MANIFEST_OTHER_SHAPE"
	// NotMeasured: it expects nothing of the enclaves that are asked for.
	NotMeasured Reason = "MANIFEST_NOT_MEASURED"
	// BelowFloor: the release is older than the oldest that may be deployed.
	BelowFloor Reason = "MANIFEST_BELOW_FLOOR"
)

// RefusedError says why a manifest is refused, and what to do.
type RefusedError struct {
	Reason Reason
	Detail string
}

// Error gives reason and detail.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("manifest refused: %s [%s]", e.Detail, e.Reason)
}

func refuse(r Reason, format string, args ...any) error {
	return &RefusedError{r, fmt.Sprintf(format, args...)}
}

// Expect is what a manifest has to be for. An empty member, and a nil Config, is
// not compared: a deployment fills all of them, see [ExpectRelease].
type Expect struct {
	Repository, Tag, Commit string
	// Config is the config file that is deployed.
	Config *release.Config
	// Floor is the lowest number that is accepted; 0 means any.
	Floor uint64
}

// ExpectRelease expects the manifest of a release that was read from its
// repository.
func ExpectRelease(r release.Release, floor uint64) Expect {
	return Expect{Repository: r.Repository, Tag: r.Tag, Commit: r.Commit, Config: r.Config, Floor: floor}
}

// Opened is a manifest whose signature has been verified.
type Opened struct {
	Manifest *Manifest
	// Payload is the manifest's own bytes.
	Payload []byte
	// KeyID names the trusted key that signed it, the first if there are several;
	// empty if an identity of Sigstore's did.
	KeyID string
}

// Verify opens an envelope and compares the manifest in it with what is expected.
// Errors are *RefusedError. An empty envelope counts as missing.
func Verify(signed []byte, trusted []crypto.PublicKey, want Expect) (*Manifest, error) {
	o, err := Open(signed, trusted)
	if err != nil {
		return nil, err
	}
	if err := o.Manifest.Check(want); err != nil {
		return nil, err
	}
	return o.Manifest, nil
}

// Open opens an envelope: one signature at least must be by one of the trusted
// keys. Errors are *RefusedError. An empty envelope counts as missing.
func Open(signed []byte, trusted []crypto.PublicKey) (*Opened, error) {
	if len(bytes.TrimSpace(signed)) == 0 {
		return nil, refuse(Missing, "the release has no signed manifest: make it with casemate release measure, sign and attach, and push it")
	}
	e, payload, err := parseEnvelope(signed)
	if err != nil {
		return nil, refuse(Malformed, "%v", err)
	}
	key, err := e.checkSignatures(payload, trusted)
	if err != nil {
		return nil, err
	}
	m, err := Parse(payload)
	if err != nil {
		return nil, refuse(Malformed, "%v", err)
	}
	return &Opened{m, payload, key}, nil
}

// Inside reads the manifest in an envelope, whoever signed it: nothing may be
// deployed by it.
func Inside(signed []byte) (*Manifest, error) {
	_, payload, err := parseEnvelope(signed)
	if err != nil {
		return nil, refuse(Malformed, "%v", err)
	}
	m, err := Parse(payload)
	if err != nil {
		return nil, refuse(Malformed, "%v", err)
	}
	return m, nil
}

// checkSignatures looks for one by a trusted key. Signatures of keys that nobody
// trusts are passed over; a bad one that names a trusted key is not. It returns
// the id of the first trusted key.
func (e envelope) checkSignatures(payload []byte, trusted []crypto.PublicKey) (string, error) {
	if len(e.Signatures) == 0 {
		return "", refuse(Unsigned, "the envelope has no signature: sign it with casemate release sign")
	}
	message := preAuthenticated(payload)
	good := ""
	for i, s := range e.Signatures {
		sig, err := canonicalBase64(s.Sig)
		if err != nil {
			return "", refuse(Malformed, "signature %d: %v", i, err)
		}
		for _, key := range trusted {
			id, err := KeyID(key)
			if err != nil {
				return "", refuse(SignedByAnother, "a trusted key can't be used: %v", err)
			}
			if id != s.KeyID {
				continue
			}
			if err := verifyWith(key, message, sig); err != nil {
				return "", refuse(BadSignature, "signature %d names the trusted key %.16s…: %v", i, id, err)
			}
			good = cmp.Or(good, id)
		}
	}
	if good == "" {
		return "", refuse(SignedByAnother, "none of its %d signatures is by one of the %d trusted keys; the first names the key %.80q", len(e.Signatures), len(trusted), e.Signatures[0].KeyID)
	}
	return good, nil
}

// Check compares a manifest that has been verified with what is expected.
func (m *Manifest) Check(want Expect) error {
	switch {
	case want.Repository != "" && !SameRepository(m.Repository, want.Repository):
		return refuse(OtherRepository, "it is for %s, want %s", m.Repository, want.Repository)
	case want.Tag != "" && m.Tag != want.Tag:
		return refuse(OtherTag, "it is for the tag %s, want %s", m.Tag, want.Tag)
	case want.Commit != "" && m.Commit != want.Commit:
		return refuse(OtherCommit, "it is for the commit %s, the tag names %s: measure and sign the release again", m.Commit, want.Commit)
	case m.Number < want.Floor:
		return refuse(BelowFloor, "its number is %d, and nothing below %d may be deployed", m.Number, want.Floor)
	}
	if want.Config == nil {
		return nil
	}
	if digest := configDigest(want.Config); m.Config.Digest != digest {
		return refuse(OtherConfig, "it is for the config %s, the commit has %s: measure and sign the release again", m.Config.Digest, digest)
	}
	images := slices.Compact(slices.Sorted(slices.Values(want.Config.Images())))
	if !slices.Equal(m.Images, images) || m.Config.CVM != cvmOf(want.Config) {
		return refuse(OtherConfig, "images or CVM image are not the config's: measure and sign the release again")
	}
	for _, e := range m.Expected {
		if e.CPUs != want.Config.CPUs || e.MemoryMiB != want.Config.MemoryMiB || e.GPUs != want.Config.GPUs {
			return refuse(OtherShape, "its shape %s on %s has %d CPUs, %d MiB and %d GPUs, the config %d, %d and %d: measure and sign the release again",
				e.Shape, e.Platform, e.CPUs, e.MemoryMiB, e.GPUs, want.Config.CPUs, want.Config.MemoryMiB, want.Config.GPUs)
		}
	}
	return nil
}
