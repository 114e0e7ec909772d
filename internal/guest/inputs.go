package guest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/release"
)

// readConfig checks the config file against its measured digest, then reads it.
func readConfig(name string, file []byte, measured [32]byte) (*release.Config, error) {
	if got := sha256.Sum256(file); got != measured {
		return nil, fmt.Errorf("the config file has digest %x, measured was %x: it was changed after the release", got, measured)
	}
	cfg, _, err := release.Parse(name, file)
	if err != nil {
		return nil, fmt.Errorf("the config file is refused: %w", err)
	}
	return cfg, nil
}

// checkPlatform refuses a platform part that does not fit the config: variables
// that are not declared open, secrets that are not those declared.
func checkPlatform(cfg *release.Config, p *agentv1.Platform) error {
	open := map[string]bool{}
	for _, c := range cfg.Containers {
		for _, v := range c.Env {
			open[v.Name] = open[v.Name] || v.Open
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.GetVariables())) {
		if !open[name] {
			return fmt.Errorf("variable %.64q is set, but no container declares it as open", name)
		}
	}
	declared := declaredSecrets(cfg)
	for _, name := range p.GetSecrets() {
		if !slices.Contains(declared, name) {
			return fmt.Errorf("secret %.64q is promised, but the config declares no such secret", name)
		}
	}
	for _, name := range declared {
		if !slices.Contains(p.GetSecrets(), name) {
			return fmt.Errorf("the config declares secret %.64q, but this deployment does not deliver it: bind it", name)
		}
	}
	return nil
}

// declaredSecrets are the names of all secrets that the config uses, sorted.
func declaredSecrets(cfg *release.Config) []string {
	names := map[string]bool{}
	for _, c := range cfg.Containers {
		for _, name := range c.Secrets {
			names[name] = true
		}
		if c.Registry != nil {
			names[c.Registry.PasswordSecret] = true
		}
	}
	for _, v := range cfg.Volumes {
		if v.KeySecret != "" {
			names[v.KeySecret] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// inputOf gives a container its measured and open variables and its secrets. An
// open variable without a value is left out.
func inputOf(c release.Container, p *agentv1.Platform, secrets map[string][]byte) Input {
	in := Input{Env: map[string]string{}, Secrets: map[string][]byte{}}
	for _, v := range c.Env {
		if !v.Open {
			in.Env[v.Name] = v.Value
			continue
		}
		if value, set := p.GetVariables()[v.Name]; set {
			in.Env[v.Name] = value
		}
	}
	for _, name := range c.Secrets {
		in.Secrets[name] = secrets[name]
	}
	return in
}

// registrySecrets are those that pulling images needs.
func registrySecrets(cfg *release.Config, secrets map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for _, c := range cfg.Containers {
		if c.Registry != nil {
			out[c.Registry.PasswordSecret] = secrets[c.Registry.PasswordSecret]
		}
	}
	return out
}

func list(names []string) string { return strings.Join(names, ", ") }
