package git

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"github.com/casemate-dev/casemate/pkg/release"
)

// maxPeel bounds tags that name tags.
const maxPeel = 5

// read peels the tag and reads the config file at the root of its commit.
func read(objects storer.EncodedObjectStorer, at address, hash plumbing.Hash, req Request) (*Found, error) {
	commit, err := peel(objects, hash)
	if err != nil {
		return nil, fmt.Errorf("tag %s of %s: %w", req.Tag, at, err)
	}
	found := &Found{Repository: at.String(), Tag: req.Tag, Commit: commit.Hash.String()}
	if req.Commit != "" && req.Commit != found.Commit {
		return nil, fmt.Errorf("%w: %s of %s was pinned to %s and names %s now; make a new tag for new content",
			ErrMoved, req.Tag, at, req.Commit, found.Commit)
	}
	tree, err := commit.Tree()
	if err != nil {
		return nil, fmt.Errorf("%w: files of %s: %w", ErrUnreachable, found.Commit, err)
	}
	entry, err := configEntry(tree)
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", at, req.Tag, err)
	}
	found.ConfigName = entry.Name
	if found.Content, err = content(objects, entry); err != nil {
		return nil, fmt.Errorf("%s at %s: %s: %w", at, req.Tag, entry.Name, err)
	}
	return found, nil
}

// peel follows tag objects to the commit.
func peel(objects storer.EncodedObjectStorer, hash plumbing.Hash) (*object.Commit, error) {
	for range maxPeel {
		tag, err := object.GetTag(objects, hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		hash = tag.Target
	}
	commit, err := object.GetCommit(objects, hash)
	if err != nil {
		return nil, fmt.Errorf("%w: it names no commit: %w", ErrNoTag, err)
	}
	return commit, nil
}

// configEntry finds the one config file among the root's entries.
func configEntry(tree *object.Tree) (*object.TreeEntry, error) {
	var found []*object.TreeEntry
	for _, name := range release.ConfigNames() {
		for i := range tree.Entries {
			if tree.Entries[i].Name == name {
				found = append(found, &tree.Entries[i])
			}
		}
	}
	names := strings.Join(release.ConfigNames(), " or ")
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("%w: the root has no %s; commit one and make a new tag", ErrNoConfig, names)
	case len(found) > 1:
		return nil, fmt.Errorf("%w: the root has both %s and %s; keep one of them", ErrTwoConfigs, found[0].Name, found[1].Name)
	case found[0].Mode != filemode.Regular && found[0].Mode != filemode.Executable && found[0].Mode != filemode.Deprecated:
		return nil, fmt.Errorf("%w: %s is not a plain file", ErrNoConfig, found[0].Name)
	}
	return found[0], nil
}

// content reads a file that must not exceed the parser's limit.
func content(objects storer.EncodedObjectStorer, entry *object.TreeEntry) ([]byte, error) {
	blob, err := object.GetBlob(objects, entry.Hash)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if blob.Size > release.MaxFileBytes {
		return nil, fmt.Errorf("%w: it has %d bytes; at most %d are read", ErrTooLarge, blob.Size, release.MaxFileBytes)
	}
	reader, err := blob.Reader()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	data, err := io.ReadAll(io.LimitReader(reader, release.MaxFileBytes+1))
	if err = errors.Join(err, reader.Close()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return data, nil
}
