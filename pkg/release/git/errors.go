package git

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of Resolve that a caller may tell apart; the text says what to do.
var (
	// ErrUnreachable means that the repository could not be read.
	ErrUnreachable = errors.New("repository can't be read")
	// ErrNoTag means that the repository has no such tag.
	ErrNoTag = errors.New("no such tag")
	// ErrTagName means that the tag's name is not a valid one.
	ErrTagName = errors.New("not a tag's name")
	// ErrMoved means that the tag names another commit than the expected one.
	ErrMoved = errors.New("tag was moved")
	// ErrNoConfig means that the commit has no readable config file.
	ErrNoConfig = errors.New("no config file")
	// ErrTwoConfigs means that the commit has a file of each name.
	ErrTwoConfigs = errors.New("two config files")
	// ErrTooLarge means that the repository or the file is over a limit.
	ErrTooLarge = errors.New("too large")
)

// noTag says that a tag is missing and which ones are near.
func noTag(repo address, tag string, near []string) error {
	if len(near) == 0 {
		return fmt.Errorf("%w: %s has no tag %q, nor any other; make one and push it", ErrNoTag, repo, tag)
	}
	return fmt.Errorf("%w: %s has no tag %q; did you mean %s?", ErrNoTag, repo, tag, strings.Join(near, ", "))
}
