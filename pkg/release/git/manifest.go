package git

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// ManifestRefs begins the references of signed manifests: that of the tag v1.2.3
// is refs/casemate/manifests/v1.2.3. A commit can't hold its own name, so the
// manifest is a commit of its own, pushed once the tag is there. It works wherever
// git does, and clutters neither branches nor tags.
const ManifestRefs = "refs/casemate/manifests/"

// The files at the root of a manifest's commit.
const (
	// EnvelopeFile is a manifest in a DSSE envelope, signed by keys.
	EnvelopeFile = "manifest.dsse.json"
	// PlainFile is a manifest as it is, and BundleFile the Sigstore bundle over it.
	PlainFile  = "manifest.json"
	BundleFile = "manifest.sigstore.json"
)

// MaxManifestBytes bounds each of the files.
const MaxManifestBytes = 384 << 10

// ErrManifest means that a tag's manifest is there and can't be read.
var ErrManifest = errors.New("no readable manifest")

// Published is what was published beside a tag; the zero value is nothing.
type Published struct {
	// Envelope, Plain and Bundle are the files, byte for byte; nil for none.
	Envelope, Plain, Bundle []byte
}

// IsZero says whether nothing was published.
func (p Published) IsZero() bool { return p.Envelope == nil && p.Plain == nil && p.Bundle == nil }

// files gives the places of the files by their names.
func (p *Published) files() map[string]*[]byte {
	return map[string]*[]byte{EnvelopeFile: &p.Envelope, PlainFile: &p.Plain, BundleFile: &p.Bundle}
}

// readManifest reads the files of a manifest's commit.
func readManifest(objects storer.EncodedObjectStorer, hash plumbing.Hash) (Published, error) {
	var out Published
	commit, err := peel(objects, hash)
	if err != nil {
		return out, fmt.Errorf("%w: it is no commit: %w", ErrManifest, err)
	}
	tree, err := commit.Tree()
	if err != nil {
		return out, fmt.Errorf("%w: files of %s: %w", ErrManifest, commit.Hash, err)
	}
	for name, to := range out.files() {
		for _, e := range tree.Entries {
			if e.Name != name {
				continue
			}
			if *to, err = manifestFile(objects, e); err != nil {
				return Published{}, fmt.Errorf("%w: %s: %w", ErrManifest, name, err)
			}
		}
	}
	if out.IsZero() {
		return out, fmt.Errorf("%w: its commit has none of %s, %s and %s", ErrManifest, EnvelopeFile, PlainFile, BundleFile)
	}
	return out, nil
}

func manifestFile(objects storer.EncodedObjectStorer, e object.TreeEntry) ([]byte, error) {
	if e.Mode != filemode.Regular {
		return nil, errors.New("it is not a plain file")
	}
	blob, err := object.GetBlob(objects, e.Hash)
	if err != nil {
		return nil, err
	}
	if blob.Size > MaxManifestBytes {
		return nil, fmt.Errorf("it has %d bytes; at most %d are read", blob.Size, MaxManifestBytes)
	}
	reader, err := blob.Reader()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(reader, MaxManifestBytes+1))
	return data, errors.Join(err, reader.Close())
}
