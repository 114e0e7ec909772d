package release

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxVariable bounds a variable's value in bytes: the kernel's limit for one
// string of an environment (MAX_ARG_STRLEN).
const maxVariable = 128 << 10

// Variables are the declared variables whose value comes from outside, sorted.
func (c *Config) Variables() []string { return c.envNames(true) }

// Secrets are all declared secrets: those of containers, the passwords of
// registries and the keys of volumes, sorted.
func (c *Config) Secrets() []string {
	names := map[string]bool{}
	for _, k := range c.Containers {
		for _, s := range k.Secrets {
			names[s] = true
		}
		if k.Registry != nil {
			names[k.Registry.PasswordSecret] = true
		}
	}
	for _, v := range c.Volumes {
		if v.KeySecret != "" {
			names[v.KeySecret] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Images are the images of all containers as written, sorted, each once.
func (c *Config) Images() []string {
	names := map[string]bool{}
	for _, k := range c.Containers {
		names[k.Image] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func (c *Config) envNames(open bool) []string {
	names := map[string]bool{}
	for _, k := range c.Containers {
		for _, e := range k.Env {
			if e.Open == open {
				names[e.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// InputError says which variables and secrets do not fit a config. All lists
// are sorted.
type InputError struct {
	// Undeclared are variables that the config does not declare.
	Undeclared []string
	// Measured are variables whose value the config fixes.
	Measured []string
	// Unusable are variables whose value is too long or holds a NUL byte.
	Unusable []string
	// UndeclaredSecrets are secrets that the config does not declare.
	UndeclaredSecrets []string
	// MissingSecrets are declared secrets that were not given.
	MissingSecrets []string
	// Variables and Secrets are what the config declares.
	Variables, Secrets []string
}

// Error says what to do about each name.
func (e *InputError) Error() string {
	var parts []string
	say := func(names []string, format string, args ...any) {
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%s: %s", fmt.Sprintf(format, args...), listed(names)))
		}
	}
	say(e.Undeclared, "variables that the config does not declare (declared: %s)", listed(e.Variables))
	say(e.Measured, "variables that the config fixes, so that only a new tag can change them")
	say(e.Unusable, "variables with a NUL byte or more than %d bytes", maxVariable)
	say(e.UndeclaredSecrets, "secrets that the config does not declare (declared: %s)", listed(e.Secrets))
	say(e.MissingSecrets, "secrets that the config declares and nobody gave")
	return strings.Join(parts, "; ")
}

// maxListed bounds the names that one error lists.
const maxListed = 30

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	shown := make([]string, 0, maxListed+1)
	for _, n := range names[:min(len(names), maxListed)] {
		shown = append(shown, clip(n))
	}
	if more := len(names) - maxListed; more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}

// CheckInputs compares the variables and the names of the secrets of a
// deployment with what the config declares. The error is an *InputError.
//
// A declared variable that is not given is left unset in the container, as
// programs expect that have a default for it; unset lists these, sorted, for a
// warning. A declared secret that is not given is an error.
func (c *Config) CheckInputs(vars map[string]string, secretNames []string) (unset []string, err error) {
	open, measured := nameSet(c.envNames(true)), nameSet(c.envNames(false))
	e := &InputError{Variables: c.Variables(), Secrets: c.Secrets()}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		switch val := vars[name]; {
		case !open[name] && measured[name]:
			e.Measured = append(e.Measured, name)
		case !open[name]:
			e.Undeclared = append(e.Undeclared, name)
		case len(val) > maxVariable || strings.ContainsRune(val, 0):
			e.Unusable = append(e.Unusable, name)
		}
	}
	given := nameSet(secretNames)
	e.UndeclaredSecrets = without(slices.Sorted(maps.Keys(given)), nameSet(e.Secrets))
	e.MissingSecrets = without(e.Secrets, given)
	for _, name := range e.Variables {
		if _, ok := vars[name]; !ok {
			unset = append(unset, name)
		}
	}
	if len(e.Undeclared)+len(e.Measured)+len(e.Unusable)+len(e.UndeclaredSecrets)+len(e.MissingSecrets) > 0 {
		return unset, e
	}
	return unset, nil
}

func nameSet(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

// without gives the names that are not in the set.
func without(names []string, set map[string]bool) (left []string) {
	for _, n := range names {
		if !set[n] {
			left = append(left, n)
		}
	}
	return left
}
