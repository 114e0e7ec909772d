package release

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

var envNameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// envName reads the name of a variable or a secret.
func envName(s string) (string, error) {
	if len(s) > maxEnvName || !envNameForm.MatchString(s) {
		return "", fmt.Errorf("must be a name of letters, digits and underscores "+
			"that does not begin with a digit, not %s", quote(s))
	}
	return s, nil
}

// environmentKeys say what a container finds in its environment.
func environmentKeys(c *Container) keys {
	return keys{
		"env": func(v value) {
			v.list(maxList, func(e value) {
				if entry, ok := envEntry(e); ok {
					addEnv(e, c, entry)
				}
			})
		},
		"secrets": distinct(&c.Secrets, secretName),
	}
}

func secretName(s string) (string, error) {
	if strings.Contains(s, "=") {
		return "", errors.New("must be the name of a secret; its value never stands in the file")
	}
	return envName(s)
}

func addEnv(v value, c *Container, entry EnvVar) {
	for _, other := range c.Env {
		if other.Name == entry.Name {
			v.fail("the variable %s is given twice", clip(entry.Name))
			return
		}
	}
	c.Env = append(c.Env, entry)
}

// envEntry reads one entry of env: a one-key mapping is measured with its
// value, a bare name measures the name alone.
func envEntry(v value) (EnvVar, bool) {
	switch {
	case v.aliased():
		return EnvVar{}, false
	case v.node.Kind == yaml.MappingNode:
		return measuredEntry(v)
	}
	text, ok := v.text()
	if !ok {
		return EnvVar{}, false
	}
	if name, val, old := strings.Cut(text, "="); old {
		return oldEntry(v, name, val)
	}
	name, err := envName(text)
	if err != nil {
		v.fail("%v", err)
		return EnvVar{}, false
	}
	return EnvVar{Name: name, Open: true}, true
}

// oldEntry reads NAME=value, which the 0.6 vintage took as a measured variable.
func oldEntry(v value, name, val string) (EnvVar, bool) {
	if _, err := envName(name); err != nil {
		v.fail("%v", err)
		return EnvVar{}, false
	}
	v.warn("old form, taken as a measured variable; write - %s: \"…\"", clip(name))
	return EnvVar{Name: name, Value: val}, true
}

func measuredEntry(v value) (entry EnvVar, ok bool) {
	if len(v.node.Content) != 2 {
		v.fail("must be one NAME: value, not %d of them: begin each with its own hyphen", len(v.node.Content)/2)
		return EnvVar{}, false
	}
	v.pairs(func(key *yaml.Node, val value) {
		name, err := envName(key.Value)
		if err != nil {
			v.p.fail(key, val.path, "%v", err)
			return
		}
		if text, fine := envValue(val); fine {
			entry, ok = EnvVar{Name: name, Value: text}, true
		}
	})
	return entry, ok
}

// plainNumber is a number that reads the same in every YAML version.
var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// envValue reads a measured value. The messages do not repeat it.
func envValue(v value) (string, bool) {
	if v.empty() {
		v.fail(`has no value: write "" for an empty one, or the name alone for a value from outside`)
		return "", false
	}
	text, ok := v.text()
	if !ok {
		return "", false
	}
	switch tag := v.node.ShortTag(); {
	case strings.ContainsRune(text, 0):
		v.fail("has a NUL byte, which no environment can hold")
		return "", false
	case (tag == "!!int" || tag == "!!float") && !plainNumber.MatchString(text):
		v.fail("is a number that YAML may rewrite: put it in quotes")
		return "", false
	}
	return text, true
}
