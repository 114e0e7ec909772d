package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// remoteRepository is a repository behind https or ssh.
type remoteRepository struct {
	cfg     Config
	session session
	refs    *packp.AdvRefs
	set     tagSet
}

// openRemote connects and lists the references.
func (r *Resolver) openRemote(ctx context.Context, at address) (repository, error) {
	host, _, _ := strings.Cut(at.host, ":") // an address in brackets is no host name
	if err := r.allow(host); err != nil {
		return nil, err
	}
	session, err := r.connect(ctx, at)
	if err != nil {
		return nil, unreachable(ctx, at, err)
	}
	refs, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return nil, unreachable(ctx, at, errors.Join(err, session.Close()))
	}
	set := tagSet{}
	for name, hash := range refs.References {
		set.add(name, hash)
	}
	return &remoteRepository{r.cfg, session, refs, set}, nil
}

func (r *Resolver) allow(host string) error {
	if r.cfg.AllowHost == nil {
		return nil
	}
	if err := r.cfg.AllowHost(host); err != nil {
		return fmt.Errorf("%w: the host %s is not allowed: %w", ErrAddress, host, err)
	}
	return nil
}

// session is a conversation with git-upload-pack.
type session interface {
	// AdvertisedReferencesContext lists the references; it comes first.
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	// UploadPack asks for objects; the response is read as the pack.
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	// Close ends the conversation.
	Close() error
}

func (r *Resolver) connect(ctx context.Context, at address) (session, error) {
	if at.scheme == schemeSSH {
		return dialSSH(ctx, at, r.cfg.SSHAuth, r.cfg.MaxPackBytes)
	}
	endpoint, err := transport.NewEndpoint(at.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	client := &http.Client{Transport: &boundedTransport{r.cfg.Transport, r.cfg.MaxPackBytes}, CheckRedirect: r.redirect}
	return githttp.NewClientWithOptions(client, nil).NewUploadPackSession(endpoint, r.cfg.HTTPSAuth)
}

// maxRedirects bounds the hops of one request.
const maxRedirects = 5

func (r *Resolver) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if req.URL.Scheme != schemeHTTPS {
		return errors.New("a redirect leaves https")
	}
	return r.allow(req.URL.Hostname())
}

// unreachable wraps an error of the transport; the deadline is said in words.
func unreachable(ctx context.Context, at address, err error) error {
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%w: %s: no answer in time: %w", ErrUnreachable, at, errors.Join(cause, err))
	}
	return fmt.Errorf("%w: %s: check the address and who may read it: %w", ErrUnreachable, at, err)
}

func (m *remoteRepository) tags() tagSet { return m.set }

func (m *remoteRepository) manifest(tag string) plumbing.Hash {
	return m.refs.References[ManifestRefs+tag]
}

func (m *remoteRepository) close() { _ = m.session.Close() } // nothing is left to be written

// objects fetches the commit of one tag and its manifest, without history where the server can.
func (m *remoteRepository) objects(ctx context.Context, tag string) (storer.EncodedObjectStorer, error) {
	req := packp.NewUploadPackRequestFromCapabilities(m.refs.Capabilities)
	req.Capabilities.Delete(capability.ThinPack) // a thin pack needs objects that nobody here has
	req.Wants = []plumbing.Hash{m.set[tag]}
	if hash := m.manifest(tag); !hash.IsZero() {
		req.Wants = append(req.Wants, hash)
	}
	if m.refs.Capabilities.Supports(capability.Shallow) {
		req.Depth = packp.DepthCommits(1)
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return nil, fmt.Errorf("ask for one commit: %w", err)
		}
	}
	response, err := m.session.UploadPack(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(ctx.Err(), err))
	}
	store, err := unpack(ctx, demux(req.Capabilities, response), m.cfg.MaxPackBytes, m.cfg.MaxUnpackedBytes)
	if closing := response.Close(); err == nil && closing != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, closing)
	}
	return store, err
}

// demux takes the pack out of the channels that the server was asked for.
func demux(asked *capability.List, r io.Reader) io.Reader {
	switch {
	case asked.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case asked.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// boundedTransport cuts off response bodies that exceed a limit.
type boundedTransport struct {
	next  http.RoundTripper
	limit int64
}

// RoundTrip does one request.
func (b *boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err == nil {
		res.Body = &boundedBody{res.Body, b.limit}
	}
	return res, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read fails with ErrTooLarge past the limit.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: the server sends more than is read; keep the config in a smaller repository", ErrTooLarge)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
