package git

import (
	"errors"
	"fmt"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// attacher is the author of the commits of manifests; whom to believe is said by
// the signature in them.
const attacher = "casemate release attach"

// Attach writes a manifest beside a tag into the repository in the folder dir, in
// place of one that was there, and returns the reference to push. The tag must be
// there and name commit. at is the time of the manifest's own commit.
func Attach(dir, tag, commit string, files Published, at time.Time) (string, error) {
	if err := CheckTag(tag); err != nil {
		return "", err
	}
	repo, err := gogit.PlainOpenWithOptions(dir, &gogit.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrUnreachable, dir, err)
	}
	if err := tagNames(repo, tag, commit); err != nil {
		return "", err
	}
	tree, err := manifestTree(repo.Storer, files)
	if err != nil {
		return "", fmt.Errorf("write the manifest of %s: %w", tag, err)
	}
	who := object.Signature{Name: attacher, Email: "release@casemate.invalid", When: at.UTC()}
	made, err := put(repo.Storer, plumbing.CommitObject, &object.Commit{
		Author: who, Committer: who, Message: "Manifest of " + tag + "\n", TreeHash: tree,
	})
	if err != nil {
		return "", fmt.Errorf("write the manifest of %s: %w", tag, err)
	}
	name := plumbing.ReferenceName(ManifestRefs + tag)
	if err := repo.Storer.SetReference(plumbing.NewHashReference(name, made)); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return name.String(), nil
}

// tagNames wants the tag to name the commit.
func tagNames(repo *gogit.Repository, tag, commit string) error {
	ref, err := repo.Storer.Reference(plumbing.NewTagReferenceName(tag))
	if err != nil {
		return fmt.Errorf("%w: %q here; make it first, or fetch it: %w", ErrNoTag, tag, err)
	}
	named, err := peel(repo.Storer, ref.Hash())
	if err != nil {
		return fmt.Errorf("tag %s: %w", tag, err)
	}
	if named.Hash.String() != commit {
		return fmt.Errorf("%w: %s names %s here, and the manifest is for %s", ErrMoved, tag, named.Hash, commit)
	}
	return nil
}

// manifestTree writes the files and their folder.
func manifestTree(to storer.EncodedObjectStorer, files Published) (plumbing.Hash, error) {
	if files.IsZero() {
		return plumbing.ZeroHash, errors.New("there is no file to attach")
	}
	tree := &object.Tree{}
	for _, name := range []string{EnvelopeFile, PlainFile, BundleFile} { // in git's order
		content := *files.files()[name]
		if content == nil {
			continue
		}
		if len(content) > MaxManifestBytes {
			return plumbing.ZeroHash, fmt.Errorf("%w: %s has %d bytes; at most %d are read", ErrTooLarge, name, len(content), MaxManifestBytes)
		}
		o := to.NewEncodedObject()
		o.SetType(plumbing.BlobObject)
		w, err := o.Writer()
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if _, err := w.Write(content); err != nil {
			return plumbing.ZeroHash, errors.Join(err, w.Close())
		}
		if err := w.Close(); err != nil {
			return plumbing.ZeroHash, err
		}
		blob, err := to.SetEncodedObject(o)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		tree.Entries = append(tree.Entries, object.TreeEntry{Name: name, Mode: filemode.Regular, Hash: blob})
	}
	return put(to, plumbing.TreeObject, tree)
}

// put writes a commit or tree.
func put(to storer.EncodedObjectStorer, kind plumbing.ObjectType, content interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	o := to.NewEncodedObject()
	o.SetType(kind)
	if err := content.Encode(o); err != nil {
		return plumbing.ZeroHash, err
	}
	return to.SetEncodedObject(o)
}
