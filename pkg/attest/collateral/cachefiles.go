package collateral

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/casemate-dev/casemate/pkg/atomicfile"
)

// load reads a document from the folder. What is there but isn't the document that
// was asked for counts as not there: the error says why.
func (c *Cache) load(r Request) (*Document, error) {
	body, err := c.readFile(r.File, r.Kind.maxSize())
	if err != nil {
		return nil, notThere(err)
	}
	var chain []byte
	if name := r.chainFile(); name != "" {
		if chain, err = c.readFile(name, maxChain); err != nil {
			return nil, notThere(err)
		}
	}
	d, err := r.document(body, chain)
	if err != nil {
		return nil, fmt.Errorf("%s in the cache: %w", r.File, err)
	}
	return d, nil
}

func notThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (c *Cache) readFile(name string, limit int64) ([]byte, error) {
	f, err := c.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, fmt.Errorf("read the cache: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the cache: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read the cache: %s is larger than %d bytes", name, limit)
	}
	return b, nil
}

// store writes the issuer chain before the document: a crash between the two
// leaves an old document beside a new chain, which the same authority signs.
func (c *Cache) store(r Request, d *Document) error {
	path := filepath.Join(c.c.Folder, filepath.FromSlash(r.File))
	if err := c.root.MkdirAll(filepath.Dir(filepath.FromSlash(r.File)), 0o755); err != nil {
		return fmt.Errorf("write the cache: %w", err)
	}
	if name := r.chainFile(); name != "" {
		if err := atomicfile.Write(filepath.Join(c.c.Folder, filepath.FromSlash(name)), d.Chain, 0o644); err != nil {
			return fmt.Errorf("write the cache: %w", err)
		}
	}
	if err := atomicfile.Write(path, d.Body, 0o644); err != nil {
		return fmt.Errorf("write the cache: %w", err)
	}
	return nil
}
