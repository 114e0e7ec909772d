package git

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"

	"github.com/casemate-dev/casemate/pkg/release"
)

// Defaults of a Config.
const (
	DefaultTimeout          = time.Minute
	DefaultMaxPackBytes     = 64 << 20
	DefaultMaxUnpackedBytes = 256 << 20
)

// Config says what a Resolver may reach, and how.
type Config struct {
	// LocalPaths allows repositories on this machine's disk. Off by default:
	// who may name a repository could otherwise read any of them.
	LocalPaths bool
	// AllowHost refuses a host (without its port) by an error; nil allows all
	// of them. It is asked again for every redirect.
	AllowHost func(host string) error
	// HTTPSAuth is sent to every https host, so a token needs AllowHost
	// beside it; nil for none.
	HTTPSAuth transport.AuthMethod
	// SSHAuth holds the key and the known hosts; nil allows no ssh.
	SSHAuth gitssh.AuthMethod
	// Transport carries https; nil is http.DefaultTransport.
	Transport http.RoundTripper
	// Timeout bounds one call; 0 is DefaultTimeout.
	Timeout time.Duration
	// MaxPackBytes bounds what is read from a server; 0 is
	// DefaultMaxPackBytes.
	MaxPackBytes int64
	// MaxUnpackedBytes bounds what that may unpack to; 0 is
	// DefaultMaxUnpackedBytes.
	MaxUnpackedBytes int64
}

// Resolver reads releases from repositories. It keeps nothing between calls and
// is safe for concurrent use.
type Resolver struct{ cfg Config }

// New makes a Resolver; it refuses negative bounds, and credentials for every
// host there is.
func New(cfg Config) (*Resolver, error) {
	if cfg.Timeout < 0 || cfg.MaxPackBytes < 0 || cfg.MaxUnpackedBytes < 0 {
		return nil, errors.New("git resolver: bounds must not be negative")
	}
	if cfg.HTTPSAuth != nil && cfg.AllowHost == nil {
		return nil, errors.New("git resolver: https credentials need AllowHost, or any repository's host would get them")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxPackBytes == 0 {
		cfg.MaxPackBytes = DefaultMaxPackBytes
	}
	if cfg.MaxUnpackedBytes == 0 {
		cfg.MaxUnpackedBytes = DefaultMaxUnpackedBytes
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	return &Resolver{cfg}, nil
}

// Request names a release.
type Request struct {
	// Repository is https://host/path, ssh://user@host/path, user@host:path,
	// or a local path.
	Repository string
	// Tag is the tag's name without refs/tags/.
	Tag string
	// Commit is the commit that the tag was pinned to before, 40 hex digits;
	// empty pins it now.
	Commit string
}

// Found is the config file of a tag, not parsed yet.
type Found struct {
	// Repository is the address without credentials.
	Repository string
	// Tag is the tag's name.
	Tag string
	// Commit is what the tag names, 40 hex digits.
	Commit string
	// ConfigName is casemate.yml or tinfoil-config.yml.
	ConfigName string
	// Content is the file, at most release.MaxFileBytes.
	Content []byte
	// Manifest is what was published beside the tag, not looked at yet.
	Manifest Published
}

// repository is an opened repository.
type repository interface {
	// tags lists the tags.
	tags() tagSet
	// manifest gives the hash of the manifest of a tag; zero for none.
	manifest(tag string) plumbing.Hash
	// objects gives a store that holds the tag's objects, its commit and the
	// commit's files, and those of its manifest.
	objects(ctx context.Context, tag string) (storer.EncodedObjectStorer, error)
	close()
}

var commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Resolve pins a tag and reads its config file. The errors wrap ErrAddress,
// ErrTagName, ErrUnreachable, ErrNoTag, ErrMoved, ErrNoConfig, ErrTwoConfigs or
// ErrTooLarge, or ErrManifest.
func (r *Resolver) Resolve(ctx context.Context, req Request) (*Found, error) {
	if err := CheckTag(req.Tag); err != nil {
		return nil, err
	}
	if req.Commit != "" && !commitForm.MatchString(req.Commit) {
		return nil, fmt.Errorf("%w: the pinned commit must be 40 lower-case hex digits", ErrMoved)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	at, repo, err := r.open(ctx, req.Repository)
	if err != nil {
		return nil, err
	}
	defer repo.close()
	tags := repo.tags()
	if _, ok := tags[req.Tag]; !ok {
		return nil, noTag(at, req.Tag, tags.near(req.Tag))
	}
	objects, err := repo.objects(ctx, req.Tag)
	if err != nil {
		return nil, fmt.Errorf("fetch %s of %s: %w", req.Tag, at, err)
	}
	found, err := read(objects, at, tags[req.Tag], req)
	if err != nil {
		return nil, err
	}
	if hash := repo.manifest(req.Tag); !hash.IsZero() {
		if found.Manifest, err = readManifest(objects, hash); err != nil {
			return nil, fmt.Errorf("%s%s of %s: %w", ManifestRefs, req.Tag, at, err)
		}
	}
	return found, nil
}

// Release resolves a tag and parses its config. A config that is refused gives
// a *release.ParseError; the warnings are given either way.
func (r *Resolver) Release(ctx context.Context, req Request) (*release.Release, []release.Warning, error) {
	found, err := r.Resolve(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	return found.Release()
}

// Release parses the config. One that is refused gives a *release.ParseError; the
// warnings are given either way.
func (f *Found) Release() (*release.Release, []release.Warning, error) {
	config, warnings, err := release.Parse(f.ConfigName, f.Content)
	if err != nil {
		return nil, warnings, fmt.Errorf("config of %s at %s: %w", f.Repository, f.Tag, err)
	}
	return &release.Release{
		Repository: f.Repository, Tag: f.Tag, Commit: f.Commit,
		ConfigName: f.ConfigName, Config: config,
	}, warnings, nil
}

// Tags lists a repository's tags in the order of versions, the newest first, at
// most 20000.
func (r *Resolver) Tags(ctx context.Context, repository string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	_, repo, err := r.open(ctx, repository)
	if err != nil {
		return nil, err
	}
	defer repo.close()
	return repo.tags().sorted(), nil
}

// open checks an address and lists the repository's references.
func (r *Resolver) open(ctx context.Context, raw string) (address, repository, error) {
	at, err := parseAddress(raw)
	if err != nil {
		return at, nil, err
	}
	if at.scheme == schemeFile {
		if !r.cfg.LocalPaths {
			return at, nil, fmt.Errorf("%w: local repositories are not allowed here", ErrAddress)
		}
		repo, err := openLocal(ctx, at)
		return at, repo, err
	}
	repo, err := r.openRemote(ctx, at)
	return at, repo, err
}
