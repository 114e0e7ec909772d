package git

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/casemate-dev/casemate/pkg/release/nearest"
)

// Bounds on tags.
const (
	maxTagName = 255
	maxTags    = 20_000
	maxNear    = 5
)

// CheckTag accepts a tag's name under the rules of git check-ref-format, without
// refs/tags/ before it. Its error wraps ErrTagName.
func CheckTag(tag string) error {
	switch {
	case tag == "":
		return fmt.Errorf("%w: it is empty", ErrTagName)
	case len(tag) > maxTagName:
		return fmt.Errorf("%w: it has %d bytes; at most %d are allowed", ErrTagName, len(tag), maxTagName)
	case strings.HasPrefix(tag, "-"):
		return fmt.Errorf("%w: %q looks like an option", ErrTagName, tag)
	case strings.HasPrefix(tag, "refs/"):
		return fmt.Errorf("%w: write the name without refs/tags/", ErrTagName)
	case strings.ContainsFunc(tag, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }):
		return fmt.Errorf("%w: %q has characters that can't be printed", ErrTagName, tag)
	}
	if err := plumbing.NewTagReferenceName(tag).Validate(); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrTagName, tag, err)
	}
	return nil
}

// tagSet has the hash that each tag names: a commit, or a tag object.
type tagSet map[string]plumbing.Hash

// add keeps a reference if it is a tag with a usable name.
func (s tagSet) add(name string, hash plumbing.Hash) {
	tag, ok := strings.CutPrefix(name, "refs/tags/")
	if ok && len(s) < maxTags && CheckTag(tag) == nil {
		s[tag] = hash
	}
}

// sorted gives the names in the order of versions, the newest first.
func (s tagSet) sorted() []string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return compareVersions(b, a) })
	return names
}

// near gives up to maxNear tags that somebody may have meant: the one closest in
// spelling, then the newest.
func (s tagSet) near(tag string) []string {
	newest := s.sorted()
	var near []string
	if meant := nearest.Word(tag, newest); meant != "" {
		near = append(near, meant)
	}
	for _, name := range newest {
		if len(near) < maxNear && !slices.Contains(near, name) {
			near = append(near, name)
		}
	}
	return near
}

// compareVersions orders names so that v1.10.0 comes after v1.9.0: runs of
// digits compare as numbers, everything else as bytes.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			if c := strings.Compare(na, nb); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// digits is the length of the run of digits that s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
