package release

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of the shim's limits.
const (
	maxRate    = 1e6
	maxBurst   = 1_000_000
	maxURLPath = 1024
)

// shim reads the front door.
func (p *parser) shim(v value) {
	s := &p.cfg.Shim
	s.TLSMode = TLSCertProxy
	known := keys{
		"upstream-port":           parsed(&s.UpstreamPort, parsePort),
		"upstream-container":      parsed(&s.UpstreamContainer, containerName),
		"paths":                   distinct(&s.Paths, parsePath),
		"origins":                 distinct(&s.Origins, parseOrigin),
		"tls-mode":                parsed(&s.TLSMode, oneOf(TLSCertProxy, TLSACME, TLSSelfSigned)),
		"authenticated":           into(&s.Authenticated, value.boolean),
		"authenticated-endpoints": distinct(&s.AuthenticatedEndpoints, parsePath),
		"rate-limit":              parsed(&s.RateLimit, parseRate),
		"rate-burst":              into(&s.RateBurst, between(1, maxBurst)),
	}
	for key, why := range shimVintages {
		known[key] = ignored(why)
	}
	v.object(known)
	v.require("upstream-port")
	p.shimAuthentication(v)
	if v.has("rate-burst") && !v.has("rate-limit") {
		p.fail(p.at["shim.rate-burst"], "shim.rate-burst", "needs rate-limit")
	}
}

// shimVintages are the shim's keys of other vintages, with why they mean
// nothing here.
var shimVintages = map[string]string{
	"listen-port":         "the shim always listens on 443",
	"domain":              "the domain is given when the container is deployed",
	"email":               "certificates are issued for the platform's account",
	"tls-env":             "the certificate authority is chosen by the platform",
	"tls-challenge":       "the challenge is chosen by the platform",
	"tls-wildcard":        "a certificate covers the container's own domains only",
	"tls-own-san-domain":  "a certificate covers the container's own domains only",
	"control-plane":       "the enclave takes orders from no address of the file; API keys are checked by the platform it runs on",
	"atc":                 "attestation needs no service besides the vendors' own",
	"publish-attestation": "evidence is always served at /.well-known/casemate/attestation",
	"dummy-attestation":   "evidence is always the real one of the hardware",
	"expected-gpus":       "the number of GPUs is gpus at the top level",
}

// shimAuthentication refuses lists that would silently protect nothing.
func (p *parser) shimAuthentication(v value) {
	const key = "shim.authenticated-endpoints"
	switch s := p.cfg.Shim; {
	case p.at[key] == nil:
	case !v.hasEntries("authenticated-endpoints"):
		p.fail(p.at[key], key, "is empty: leave it out to ask for a key on every path")
	case !s.Authenticated:
		p.fail(p.at[key], key, "asks for no key without authenticated: true")
	}
}

// parsePath reads a path that is exact, or a prefix with a trailing *.
func parsePath(s string) (string, error) {
	prefix := strings.TrimSuffix(s, "*")
	bad := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
	switch {
	case len(s) > maxURLPath:
		return "", fmt.Errorf("has %d bytes; a path has at most %d", len(s), maxURLPath)
	case !strings.HasPrefix(s, "/"):
		return "", fmt.Errorf("must begin with a slash, not %s", quote(s))
	case strings.Contains(prefix, "*"):
		return "", fmt.Errorf("a * may stand at the end only, not as in %s", quote(s))
	case strings.ContainsAny(s, "?#%\\") || strings.ContainsFunc(s, bad):
		return "", fmt.Errorf("must be a plain path without query, escapes or spaces, not %s", quote(s))
	case !cleanPath(prefix):
		return "", fmt.Errorf("must be a clean path without // or dot segments, not %s", quote(s))
	}
	return s, nil
}

// cleanPath says that a path has no dot segments and no double slashes; a slash
// at its end is allowed.
func cleanPath(s string) bool {
	clean := path.Clean(s)
	return s == clean || s == clean+"/" && clean != "/"
}

// parseOrigin reads a browser origin, scheme://host[:port].
func parseOrigin(s string) (string, error) {
	if s == "*" {
		return "", errors.New("leave origins out to allow every origin")
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.Scheme+"://"+u.Host != s {
		return "", fmt.Errorf("must be an origin such as https://example.com, without a path, not %s", quote(s))
	}
	if _, err := parseHost(u.Hostname()); err != nil {
		return "", fmt.Errorf("the origin's host: %w", err)
	}
	return s, nil
}

func parseRate(s string) (float64, error) {
	rate, err := strconv.ParseFloat(s, 64)
	if err != nil || !plainNumber.MatchString(s) || rate <= 0 || rate > maxRate {
		return 0, fmt.Errorf("must be requests a second above 0 and at most %d, not %s", int(maxRate), quote(s))
	}
	return rate, nil
}
