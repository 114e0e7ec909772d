package git

import (
	"context"
	"fmt"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// localRepository is a repository on this machine's disk, read in place.
type localRepository struct {
	repo *gogit.Repository
	set  tagSet
}

func openLocal(ctx context.Context, at address) (repository, error) {
	repo, err := gogit.PlainOpenWithOptions(at.path, &gogit.PlainOpenOptions{})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, at, err)
	}
	refs, err := repo.Tags()
	if err != nil {
		return nil, fmt.Errorf("%w: list the tags of %s: %w", ErrUnreachable, at, err)
	}
	set := tagSet{}
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() == plumbing.HashReference {
			set.add(ref.Name().String(), ref.Hash())
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("%w: list the tags of %s: %w", ErrUnreachable, at, err)
	}
	return &localRepository{repo, set}, nil
}

func (l *localRepository) tags() tagSet { return l.set }

func (l *localRepository) manifest(tag string) plumbing.Hash {
	ref, err := l.repo.Storer.Reference(plumbing.ReferenceName(ManifestRefs + tag))
	if err != nil || ref.Type() != plumbing.HashReference {
		return plumbing.ZeroHash
	}
	return ref.Hash()
}

func (l *localRepository) objects(ctx context.Context, _ string) (storer.EncodedObjectStorer, error) {
	return l.repo.Storer, ctx.Err()
}

func (l *localRepository) close() {}
