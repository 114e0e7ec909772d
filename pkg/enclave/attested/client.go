package attested

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/enclave/guestclient"
)

// Names of the checks that a client makes besides those of package judge. They are
// stable.
const (
	// CheckRelease: the release that is expected has a good manifest.
	CheckRelease = "release_manifest"
	// CheckDomain: the enclave was launched for the domain that was asked for.
	CheckDomain = "domain_binding"
)

// NotPinnedRelease stands in a verdict's not_pinned if the evidence was compared
// with no release.
const NotPinnedRelease = "release"

// askTimeout bounds one question for evidence: GPUs take seconds, and the guest
// itself gives up after 20.
const askTimeout = 30 * time.Second

// httpsPort is where enclaves are reached unless an address is given.
const httpsPort = "443"

// Config says which enclave is meant, and what it must be.
type Config struct {
	// Domain is the name that the enclave was launched for, in lower case.
	Domain string
	// Address is the host:port to connect to; empty means port 443 of Domain.
	Address string
	// Judge judges the evidence.
	Judge *judge.Judge
	// Release is the release that must run there. It may be nil only with
	// AnyRelease: then the verdict lists "release" as not pinned, and says nothing
	// of what runs.
	Release    *Release
	AnyRelease bool
	// PlatformDigest is evidence.PlatformDigest of the platform part; nil compares
	// it with nothing, and the verdict lists "platform" as not pinned.
	PlatformDigest *[32]byte
	// Dial makes TCP connections; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client judges one enclave. It is safe for concurrent use.
type Client struct {
	cfg    Config
	target guestclient.Config
}

// Proof is a verdict, and the key that it is about.
type Proof struct {
	Verdict *attest.Verdict
	// Key is SHA-256 of the SubjectPublicKeyInfo of the TLS key of the connection
	// that the evidence came over.
	Key [32]byte
}

var domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// New checks the configuration and returns a Client, which connects to nothing yet.
func New(cfg Config) (*Client, error) {
	switch {
	case len(cfg.Domain) > 253 || !domainForm.MatchString(cfg.Domain) || net.ParseIP(cfg.Domain) != nil:
		return nil, fmt.Errorf("attested client: %.80q is no domain: want letters a-z, digits, hyphens and dots", cfg.Domain)
	case cfg.Judge == nil:
		return nil, errors.New("attested client: a judge is required")
	case cfg.Release == nil && !cfg.AnyRelease:
		return nil, errors.New("attested client: without a release nothing says what must run there")
	case cfg.Release != nil && cfg.AnyRelease:
		return nil, errors.New("attested client: a release and any release exclude each other")
	}
	if cfg.Address == "" {
		cfg.Address = net.JoinHostPort(cfg.Domain, httpsPort)
	}
	if _, _, err := net.SplitHostPort(cfg.Address); err != nil {
		return nil, fmt.Errorf("attested client: address %.300q: %w", cfg.Address, err)
	}
	return &Client{cfg: cfg, target: guestclient.Config{
		Endpoint: cfg.Address, ServerName: cfg.Domain, Dial: cfg.Dial, Timeout: askTimeout,
	}}, nil
}

// Verify asks the enclave for evidence over a fresh nonce and judges it. An error
// means that there was nothing to judge; a refusal is in the verdict.
func (c *Client) Verify(ctx context.Context) (*Proof, error) {
	guest, err := guestclient.New(c.target)
	if err != nil {
		return nil, err
	}
	defer guest.Close()
	var nonce [32]byte
	_, _ = rand.Read(nonce[:]) // never fails, since Go 1.24
	raw, key, err := guest.Attestation(ctx, nonce)
	if err != nil {
		return nil, fmt.Errorf("%s gave no evidence: %w", c.cfg.Domain, err)
	}
	cert, err := guest.Certificate()
	if err != nil {
		return nil, err
	}
	v := c.judge(ctx, raw, judge.Expect{Nonce: nonce, TLSKeyDigest: key})
	c.checkDomain(v, cert)
	return &Proof{Verdict: v, Key: key}, nil
}

// judge fills in what is expected and judges the document.
func (c *Client) judge(ctx context.Context, raw []byte, e judge.Expect) *attest.Verdict {
	doc, err := evidence.Parse(raw)
	if err != nil {
		return c.cfg.Judge.Verify(ctx, raw, e) // which says so
	}
	e.AnyPlatform = c.cfg.PlatformDigest == nil
	if !e.AnyPlatform {
		e.PlatformDigest = *c.cfg.PlatformDigest
	}
	r := c.cfg.Release
	if r == nil {
		expectItself(&e, doc)
		v := c.cfg.Judge.VerifyDocument(ctx, doc, e)
		v.NotPinned = append(v.NotPinned, NotPinnedRelease)
		return v
	}
	e.ConfigDigest, e.GPUs, e.Measurements = r.ConfigDigest, r.GPUs, c.expected(r, doc.Format)
	v := c.cfg.Judge.VerifyDocument(ctx, doc, e)
	if len(e.Measurements) == 0 {
		v.Fail(CheckRelease, "%s says nothing of enclaves on %s", r.Name, doc.Format)
	} else {
		v.Pass(CheckRelease, "compared with %s", r.Name)
	}
	return v
}

// expected are the measurements for evidence of a format. Simulated enclaves show
// evidence in the form of real hardware: where the policy names their roots, a
// release's simulated measurements are expected of it too. No hardware has them.
func (c *Client) expected(r *Release, format attest.Format) []judge.Measurement {
	if c.cfg.Judge.TrustsSimulated() && format != attest.FormatSimulated {
		return slices.Concat(r.Measurements[format], r.Measurements[attest.FormatSimulated])
	}
	return r.Measurements[format]
}

// checkDomain wants the certificate, which the guest signs with the attested key, to
// name the domain. The guest takes it from the platform part, whose digest its CPU
// signs: so an enclave of another domain is refused though it runs the same release.
func (c *Client) checkDomain(v *attest.Verdict, cert *x509.Certificate) {
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		v.Fail(CheckDomain, "the certificate is not signed by its own key: %v", err)
		return
	}
	if !slices.Equal(cert.DNSNames, []string{c.cfg.Domain}) {
		v.Fail(CheckDomain, "the enclave was launched for %.300q, not for %s", strings.Join(cert.DNSNames, ", "), c.cfg.Domain)
		return
	}
	v.Pass(CheckDomain, "the enclave says, with the key that it attests, that it was launched for %s", c.cfg.Domain)
}
