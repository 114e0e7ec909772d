package gateway

import (
	"errors"
	"fmt"
)

// maxDomain is the longest domain name in text form without the trailing dot
// (RFC 1035 section 2.3.4: 255 octets on the wire).
const maxDomain = 253

// maxLabel is the longest label of a domain name (RFC 1035 section 2.3.4).
const maxLabel = 63

var errBadName = errors.New("not a host name")

// NormalizeDomain returns the form in which a domain is kept and looked up:
// lower case, without a trailing dot. It refuses everything that is not a host
// name of letters, digits and hyphens (RFC 1123 section 2.1), IP addresses
// included.
func NormalizeDomain(domain string) (string, error) {
	if n := len(domain); n > 1 && domain[n-1] == '.' {
		domain = domain[:n-1]
	}
	var buf [maxDomain]byte
	name, err := normalizeName(buf[:0], []byte(domain))
	if err != nil {
		return "", fmt.Errorf("domain %q: %w", clip(domain), err)
	}
	return string(name), nil
}

// normalizeName appends the normal form of name to dst, which must have room
// for maxDomain bytes if nothing is to be allocated.
func normalizeName(dst, name []byte) ([]byte, error) {
	if len(name) == 0 || len(name) > maxDomain {
		return nil, errBadName
	}
	label, digits := 0, true
	for i, c := range name {
		switch {
		case c == '.':
			if label == 0 || label > maxLabel || name[i-1] == '-' {
				return nil, errBadName
			}
			dst = append(dst, c)
			label, digits = 0, true
			continue
		case c >= 'A' && c <= 'Z':
			c, digits = c+('a'-'A'), false
		case c >= 'a' && c <= 'z':
			digits = false
		case c == '-' && label > 0:
			digits = false
		case c >= '0' && c <= '9':
		default:
			return nil, errBadName
		}
		dst = append(dst, c)
		label++
	}
	// A name whose last label is a number is an IPv4 address in some notation
	// (WHATWG URL, "ends in a number").
	if label == 0 || label > maxLabel || digits || name[len(name)-1] == '-' {
		return nil, errBadName
	}
	return dst, nil
}

// clip shortens text from outside before it reaches an error or a log.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
