package release

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// maxImage bounds an image reference: registries accept names of 255 bytes,
// besides the tag and the digest.
const maxImage = 512

var (
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	hexForm    = regexp.MustCompile(`^[0-9a-f]+$`)
	zeroDigest = strings.Repeat("0", 64)
)

// checkImage accepts REFERENCE@sha256:<64 hex> and gives the digest.
func checkImage(image string) (string, error) {
	if image == "" {
		return "", errors.New("is empty: name the image by its digest, such as ghcr.io/org/app@sha256:<64 hex digits>")
	}
	if len(image) > maxImage {
		return "", fmt.Errorf("has %d bytes; an image reference has at most %d", len(image), maxImage)
	}
	base, digest, pinned := strings.Cut(image, "@")
	if !pinned {
		return "", fmt.Errorf("%s is not pinned: a tag can be moved to another image after the release is "+
			"measured; add the digest that your registry shows for it, as in %s@sha256:<64 hex digits>", quote(image), clip(base))
	}
	if err := checkDigest(digest); err != nil {
		return "", err
	}
	if _, err := name.NewDigest(image); err != nil {
		return "", fmt.Errorf("%s is not an image reference: %s", quote(image), clip(err.Error()))
	}
	return digest, nil
}

// checkDigest accepts sha256:<64 lower-case hex digits> and says of everything
// else what its author would call it.
func checkDigest(digest string) error {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	switch {
	case !ok && strings.Contains(digest, ":"):
		return fmt.Errorf("the digest %s is not supported: only sha256 digests are", quote(digest))
	case !ok:
		return fmt.Errorf("the digest %s must begin with sha256:", quote(digest))
	case hex == zeroDigest:
		return errors.New("the digest is all zeroes, a placeholder that was never filled in: " +
			"put the digest of the pushed image there before making the tag")
	case digestForm.MatchString(hex):
		return nil
	case hexForm.MatchString(hex):
		return fmt.Errorf("the digest has %d hex digits; sha256 has 64", len(hex))
	case hexForm.MatchString(strings.ToLower(hex)):
		return errors.New("the digest must be written in lower case")
	}
	return fmt.Errorf("the digest %s is a placeholder, not 64 hex digits: "+
		"put the digest of the pushed image there before making the tag", quote(digest))
}
