package git

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// ErrAddress means that a repository's address is not accepted.
var ErrAddress = errors.New("repository address refused")

// maxAddress bounds a repository's address in bytes.
const maxAddress = 2048

// The schemes of an address.
const (
	schemeFile  = "file"
	schemeHTTPS = "https"
	schemeSSH   = "ssh"
)

// address is a checked repository address. It holds no password.
type address struct {
	scheme string
	// user is the ssh account; empty otherwise.
	user string
	// host may end with a port; empty for a file.
	host string
	path string
}

// String gives the address as a URL, or a plain path for a file.
func (a address) String() string {
	switch {
	case a.scheme == schemeFile:
		return a.path
	case a.user != "":
		return a.scheme + "://" + a.user + "@" + a.host + a.path
	}
	return a.scheme + "://" + a.host + a.path
}

var (
	hostForm  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$`)
	userForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
	pathForm  = regexp.MustCompile(`^[\p{L}\p{N}/._~+@=,-]+$`)
	shortForm = regexp.MustCompile(`^(?:([^@/:]+)@)?([^@/:]+):([^:].*)$`)
)

// parseAddress accepts https://host/path, ssh://user@host/path, user@host:path,
// and an absolute path or file:///path. Its errors wrap ErrAddress and never
// repeat what stands where a password could.
func parseAddress(raw string) (address, error) {
	refuse := func(why string) (address, error) { return address{}, fmt.Errorf("%w: %s", ErrAddress, why) }
	switch {
	case raw == "":
		return refuse("it is empty")
	case len(raw) > maxAddress:
		return refuse(fmt.Sprintf("it has %d bytes; at most %d are allowed", len(raw), maxAddress))
	case strings.HasPrefix(raw, "-"):
		return refuse("it looks like an option, not a repository")
	case strings.Contains(raw, "::"):
		return refuse("remote helpers such as ext:: are not allowed")
	case strings.ContainsFunc(raw, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return refuse("it has spaces or characters that can't be printed")
	case strings.HasPrefix(raw, "/"):
		return fileAddress(raw)
	}
	if !strings.Contains(raw, "://") {
		if m := shortForm.FindStringSubmatch(raw); m != nil {
			return checked(address{schemeSSH, m[1], m[2], "/" + strings.TrimPrefix(m[3], "/")})
		}
		return refuse("write https://host/path, ssh://user@host/path, or an absolute path")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return refuse("it is not a URL") // the parser's error repeats the URL
	}
	return urlAddress(u)
}

func urlAddress(u *url.URL) (address, error) {
	_, password := u.User.Password()
	switch {
	case password, u.Scheme == schemeHTTPS && u.User != nil:
		return address{}, fmt.Errorf("%w: it holds credentials, which every log would show; "+
			"configure them with the coordinator instead", ErrAddress)
	case u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || u.ForceQuery:
		return address{}, fmt.Errorf("%w: a query or fragment means nothing in a repository's URL", ErrAddress)
	case u.Scheme == schemeFile && u.Host == "" && u.User == nil:
		return fileAddress(u.Path)
	case u.Scheme != schemeHTTPS && u.Scheme != schemeSSH:
		return address{}, fmt.Errorf("%w: only https, ssh and local paths are allowed", ErrAddress)
	}
	return checked(address{u.Scheme, u.User.Username(), u.Host, u.Path})
}

// checked accepts the parts of an address on a network.
func checked(a address) (address, error) {
	switch {
	case !hostForm.MatchString(a.host) || strings.Contains(a.host, ".."):
		return address{}, fmt.Errorf("%w: its host is not a host name", ErrAddress)
	case a.user != "" && !userForm.MatchString(a.user):
		return address{}, fmt.Errorf("%w: its account is not a plain name", ErrAddress)
	case a.path == "" || a.path == "/" || path.Clean(a.path) != strings.TrimSuffix(a.path, "/"):
		return address{}, fmt.Errorf("%w: its path is not a clean path to a repository", ErrAddress)
	case strings.HasPrefix(a.path, "/-") || !pathForm.MatchString(a.path):
		return address{}, fmt.Errorf("%w: its path has characters that a server's shell could take for its own", ErrAddress)
	}
	return a, nil
}

func fileAddress(p string) (address, error) {
	if !path.IsAbs(p) || path.Clean(p) != strings.TrimSuffix(p, "/") && p != "/" {
		return address{}, fmt.Errorf("%w: a local repository is named by a clean absolute path", ErrAddress)
	}
	if !pathForm.MatchString(p) {
		return address{}, fmt.Errorf("%w: the path of a local repository has characters besides letters, digits and / . _ ~ + @ = , -", ErrAddress)
	}
	return address{scheme: schemeFile, path: path.Clean(p)}, nil
}
