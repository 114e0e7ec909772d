package collateral

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// HTTPConfig says which services may be asked, and how.
type HTTPConfig struct {
	// Addresses are https URLs without query, by service; a service that is not
	// there is never asked. VendorAddresses are the vendors' own.
	Addresses map[Service]string
	// Transport carries the requests; nil means a transport of its own with TLS 1.2
	// or newer, that takes proxies from the environment.
	Transport http.RoundTripper
	// Timeout bounds one request with its answer; 0 means DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout bounds a request: AMD's KDS takes up to ten seconds.
const DefaultTimeout = 20 * time.Second

// maxHeaders bounds an answer's headers, in bytes; issuer chains have 3 KiB.
const maxHeaders = 64 << 10

// VendorAddresses are the public services of the vendors.
func VendorAddresses() map[Service]string {
	return map[Service]string{
		AMDKDS:      "https://kdsintf.amd.com",
		IntelPCS:    "https://api.trustedservices.intel.com",
		IntelRoots:  "https://certificates.trustedservices.intel.com",
		NVIDIARIMs:  "https://rim.attestation.nvidia.com",
		NVIDIAOCSPs: "https://ocsp.ndis.nvidia.com",
	}
}

// HTTP gets documents from the services of its config. It follows no redirect to
// another host, and reads no more than a document of that kind can have.
type HTTP struct {
	bases  map[Service]*url.URL
	client *http.Client
}

// StatusError is an answer that is no document.
type StatusError struct {
	// Status is the HTTP status.
	Status int
	// RetryAfter is how long the service asks to be left alone; 0 if it says nothing.
	RetryAfter time.Duration
}

// Error gives the status in words.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the service answered %d %s", e.Status, http.StatusText(e.Status))
}

// errRedirect says that a service sends elsewhere.
var errRedirect = errors.New("the service redirects elsewhere, which is not followed")

// NewHTTP checks the addresses.
func NewHTTP(c HTTPConfig) (*HTTP, error) {
	h := &HTTP{bases: map[Service]*url.URL{}}
	for service, address := range c.Addresses {
		u, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("address of %s: %w", service, err)
		}
		if u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, fmt.Errorf("address of %s is %q, want https://host/path", service, u.Redacted())
		}
		if _, known := VendorAddresses()[service]; !known {
			return nil, fmt.Errorf("address of %s: there is no such service", service)
		}
		h.bases[service] = u
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	if timeout < 0 {
		return nil, fmt.Errorf("timeout is %s, want more than 0", timeout)
	}
	h.client = &http.Client{Transport: c.transport(), Timeout: timeout, CheckRedirect: sameHost}
	return h, nil
}

func (c HTTPConfig) transport() http.RoundTripper {
	if c.Transport != nil {
		return c.Transport
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: maxHeaders,
		TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 1, IdleConnTimeout: 10 * time.Second,
		DisableCompression: true, ForceAttemptHTTP2: true,
	}
	return t
}

// sameHost follows a redirect only where the first request went.
func sameHost(next *http.Request, before []*http.Request) error {
	if first := before[0].URL; next.URL.Scheme != first.Scheme || next.URL.Host != first.Host || len(before) > 3 {
		return errRedirect
	}
	return nil
}

// Get asks the request's service. Errors wrap ErrNotConfigured, ErrNotFound,
// ErrContent or a *StatusError, or are the network's.
func (h *HTTP) Get(ctx context.Context, r Request) (*Document, error) {
	d, err := h.get(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("get %s from %s: %w", r.File, r.Service, err)
	}
	return d, nil
}

func (h *HTTP) get(ctx context.Context, r Request) (*Document, error) {
	base, ok := h.bases[r.Service]
	if !ok {
		return nil, ErrNotConfigured
	}
	if !strings.HasPrefix(r.Path, "/") {
		return nil, fmt.Errorf("path %q doesn't begin with a slash", r.Path)
	}
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if r.Body != nil {
		method, body = http.MethodPost, bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base.String(), "/")+r.Path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if r.Kind == NVIDIAOCSP {
		req.Header.Set("Content-Type", "application/ocsp-request")
		req.Header.Set("Accept", "application/ocsp-response")
	}
	answer, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	document, err := r.read(answer)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return nil, err
	}
	return document, nil
}

// read takes a document from an answer.
func (r Request) read(answer *http.Response) (*Document, error) {
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, ErrNotFound
	default:
		return nil, &StatusError{answer.StatusCode, retryAfter(answer.Header.Get("Retry-After"))}
	}
	// The RIM service's JSON holds the document in base64.
	limit := 2 * r.Kind.maxSize()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrContent, limit)
	}
	body, err := r.unwrap(raw)
	if err != nil {
		return nil, err
	}
	var chain []byte
	if name := r.Kind.chainHeader(); name != "" {
		if chain, err = chainFrom(answer.Header.Get(name)); err != nil {
			return nil, err
		}
		if chain == nil {
			return nil, fmt.Errorf("%w: the header %s with the issuer chain is missing", ErrContent, name)
		}
	}
	return r.document(body, chain)
}

// retryAfter reads seconds; a date is not worth its trouble.
func retryAfter(header string) time.Duration {
	n, err := strconv.Atoi(header)
	if err != nil || n < 0 || n > 3600 {
		return 0
	}
	return time.Duration(n) * time.Second
}
