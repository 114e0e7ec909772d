package collateral

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// CacheConfig says where documents are kept and how long they serve.
type CacheConfig struct {
	// Folder keeps the documents, in the layout that `attest verify` reads. It is
	// made if it isn't there.
	Folder string
	// Next is asked for what is missing or ends soon; nil means offline.
	Next Getter
	// AllowStale is how long after its end a document still serves while no newer
	// one can be had.
	AllowStale time.Duration
	// RefreshBefore is how long before its end a document is fetched anew; 0 means
	// a day. The old one serves if that fails.
	RefreshBefore time.Duration
	// Quiet is how long a service is left alone for a document after a failure
	// while the cache has one that serves; 0 means a minute.
	Quiet time.Duration
	// Clock gives the time; nil means time.Now.
	Clock func() time.Time
}

// Cache keeps documents in a folder through outages and restarts. Only one caller
// at a time fetches a document; the others wait for it.
type Cache struct {
	c    CacheConfig
	root *os.Root

	mu     sync.Mutex
	busy   map[string]chan struct{} // closed when the fetch of that file is over
	failed map[string]failure
}

// failure is when the last fetch of a file failed, and why.
type failure struct {
	at  time.Time
	err error
}

// NewCache opens the folder.
func NewCache(c CacheConfig) (*Cache, error) {
	if c.Folder == "" {
		return nil, errors.New("the cache needs a folder")
	}
	if c.AllowStale < 0 || c.RefreshBefore < 0 || c.Quiet < 0 {
		return nil, errors.New("the cache's durations may not be below zero")
	}
	if c.RefreshBefore == 0 {
		c.RefreshBefore = 24 * time.Hour
	}
	if c.Quiet == 0 {
		c.Quiet = time.Minute
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if err := os.MkdirAll(c.Folder, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache's folder: %w", err)
	}
	root, err := os.OpenRoot(c.Folder)
	if err != nil {
		return nil, fmt.Errorf("open the cache's folder: %w", err)
	}
	return &Cache{c: c, root: root, busy: map[string]chan struct{}{}, failed: map[string]failure{}}, nil
}

// Close closes the folder.
func (c *Cache) Close() error { return c.root.Close() }

// Get returns the document of the cache while it serves, and else the next
// Getter's. Errors wrap ErrOffline, ErrStale or that Getter's; a document that had
// to be given although it has ended is marked.
func (c *Cache) Get(ctx context.Context, r Request) (*Document, error) {
	if !filepath.IsLocal(filepath.FromSlash(r.File)) {
		return nil, fmt.Errorf("document %.200q has no place in a cache", r.File)
	}
	release, err := c.claim(ctx, r.File)
	if err != nil {
		return nil, err
	}
	defer release()
	kept, keptErr := c.load(r)
	now := c.c.Clock()
	if kept != nil && (kept.Expires.IsZero() || now.Before(kept.Expires.Add(-c.refreshBefore(r)))) {
		return kept, nil
	}
	fresh, err := c.fetch(ctx, r, kept, now)
	if err == nil {
		return fresh, nil
	}
	if kept == nil {
		return nil, errors.Join(err, keptErr)
	}
	return c.afterFailure(r, kept, err, now)
}

// refreshBefore is shorter for OCSP responses, which live for a day.
func (c *Cache) refreshBefore(r Request) time.Duration {
	if r.Kind == NVIDIAOCSP {
		return min(c.c.RefreshBefore, 4*time.Hour)
	}
	return c.c.RefreshBefore
}

// afterFailure says whether an old document serves all the same.
func (c *Cache) afterFailure(r Request, kept *Document, err error, now time.Time) (*Document, error) {
	if now.Before(kept.Expires) {
		return kept, nil
	}
	if now.After(kept.Expires.Add(c.c.AllowStale)) {
		return nil, fmt.Errorf("%w: %s ended at %s, and %s more are allowed: %w", ErrStale, r.File, kept.Expires.UTC().Format(time.RFC3339), c.c.AllowStale, err)
	}
	kept.Stale, kept.Problem = true, err
	return kept, nil
}

// fetch asks the next Getter and keeps what it gives.
func (c *Cache) fetch(ctx context.Context, r Request, kept *Document, now time.Time) (*Document, error) {
	if c.c.Next == nil {
		return nil, fmt.Errorf("%s: %w", r.File, ErrOffline)
	}
	if last := c.lastFailure(r.File); kept != nil && last.err != nil && now.Sub(last.at) < c.c.Quiet && !now.Before(last.at) {
		return nil, fmt.Errorf("left alone since a failure at %s: %w", last.at.UTC().Format(time.RFC3339), last.err)
	}
	d, err := c.c.Next.Get(ctx, r)
	if err == nil {
		d, err = r.acceptable(d, kept, now)
	}
	if err == nil {
		err = c.store(r, d)
	}
	c.noteFailure(ctx, r.File, now, err)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// acceptable tells whether a document may take the place of the one that is kept.
// Whatever Getter it comes from: nothing is kept that isn't what was asked for, has
// ended, or ends before what is there.
func (r Request) acceptable(d, kept *Document, now time.Time) (*Document, error) {
	d, err := r.document(d.Body, d.Chain)
	switch {
	case err != nil:
		return nil, err
	case d.Expires.IsZero():
		return d, nil
	case !now.Before(d.Expires):
		return nil, fmt.Errorf("%w: it ended at %s already", ErrContent, d.Expires.UTC().Format(time.RFC3339))
	case kept != nil && d.Expires.Before(kept.Expires):
		return nil, fmt.Errorf("%w: it is older than the one in the cache", ErrContent)
	}
	return d, nil
}

// maxFailures bounds what is remembered of failures.
const maxFailures = 1024

func (c *Cache) lastFailure(file string) failure {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed[file]
}

func (c *Cache) noteFailure(ctx context.Context, file string, at time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil || ctx.Err() != nil: // a caller that went away says nothing of the service
		delete(c.failed, file)
	default:
		if len(c.failed) >= maxFailures {
			clear(c.failed)
		}
		c.failed[file] = failure{at, err}
	}
}

// claim waits until nobody else is at a file, and takes it.
func (c *Cache) claim(ctx context.Context, file string) (release func(), err error) {
	for {
		c.mu.Lock()
		other, taken := c.busy[file]
		if !taken {
			mine := make(chan struct{})
			c.busy[file] = mine
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.busy, file)
				close(mine)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
