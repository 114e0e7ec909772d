package manifest

import (
	"net/url"
	"regexp"
	"strings"
)

// scpForm is git's short form of an ssh address, user@host:path.
var scpForm = regexp.MustCompile(`^(?:[^@/:]+@)?([^@/:]+):([^:].*)$`)

// SameRepository says whether two addresses name one repository: the same path on
// the same host, however it is reached. A manifest is made by who pushes over ssh
// and checked by who reads over https.
func SameRepository(a, b string) bool {
	return place(a) == place(b)
}

// place is host and path of an address; the host is empty for a local path.
func place(address string) string {
	host, path := "", address
	if u, err := url.Parse(address); err == nil && strings.Contains(address, "://") {
		host, path = u.Host, u.Path
	} else if m := scpForm.FindStringSubmatch(address); m != nil && !strings.HasPrefix(address, "/") {
		host, path = m[1], m[2]
	}
	path = strings.TrimSuffix(strings.TrimSuffix(path, "/"), ".git")
	return strings.ToLower(host) + "/" + strings.TrimPrefix(path, "/")
}

// RepositoryBeneath says whether a repository lies beneath an address, such as that
// of an account on a Git host.
func RepositoryBeneath(repository, above string) bool {
	return strings.HasPrefix(place(repository), strings.TrimSuffix(place(above), "/")+"/")
}
