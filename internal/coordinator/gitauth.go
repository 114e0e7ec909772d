package coordinator

import (
	"fmt"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"

	"github.com/casemate-dev/casemate/pkg/release/git"
)

// resolver makes the resolver of releases with the credentials that are set.
func (g Git) resolver() (*git.Resolver, error) {
	cfg := git.Config{LocalPaths: g.LocalPaths, Timeout: g.Timeout}
	if g.SSHKey != "" {
		keys, err := gitssh.NewPublicKeysFromFile("git", g.SSHKey, "")
		if err != nil {
			return nil, fmt.Errorf("git.ssh_key: %w", err)
		}
		if keys.HostKeyCallback, err = gitssh.NewKnownHostsCallback(g.KnownHosts); err != nil {
			return nil, fmt.Errorf("git.known_hosts: %w", err)
		}
		cfg.SSHAuth = keys
	}
	if g.HTTPSToken != "" {
		token, err := os.ReadFile(g.HTTPSToken)
		if err != nil {
			return nil, fmt.Errorf("git.https_token: %w", err)
		}
		// The token goes to this host and to no other: repositories elsewhere would
		// otherwise be given it.
		cfg.HTTPSAuth = &http.BasicAuth{Username: g.HTTPSUser, Password: strings.TrimSpace(string(token))}
		cfg.AllowHost = func(host string) error {
			if host != g.HTTPSHost {
				return fmt.Errorf("repositories are taken from %s only, since git.https_token is set", g.HTTPSHost)
			}
			return nil
		}
	}
	return git.New(cfg)
}
