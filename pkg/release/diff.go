package release

import (
	"maps"
	"slices"
	"strings"
)

// Side is one side of a comparison: a config and what was deployed with it.
type Side struct {
	// Config must not be nil.
	Config *Config
	// Variables are the values from outside by name.
	Variables map[string]string
	// SecretVersions are the versions of the secrets by name, in any form in
	// which different versions differ.
	SecretVersions map[string]string
}

// Change is one difference between two configs, for a person to read.
type Change struct {
	// Path is the place in the spec; entries with names stand under their
	// name, such as containers[app].image.
	Path string
	// Old is the value before, empty for something added.
	Old string
	// New is the value after, empty for something removed.
	New string
}

// Diff lists what changes from one side to the other, sorted by path. A
// container, model, volume or network that is added or removed is one change
// with the path of its entry.
func Diff(old, next Side) []Change {
	before, after := facts(old), facts(next)
	var changes []Change
	for path := range union(before, after) {
		if before[path] != after[path] && !coveredByEntry(path, before, after) {
			changes = append(changes, Change{path, before[path], after[path]})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return changes
}

func union(a, b map[string]string) map[string]struct{} {
	all := map[string]struct{}{}
	for _, m := range []map[string]string{a, b} {
		for path := range maps.Keys(m) {
			all[path] = struct{}{}
		}
	}
	return all
}

// coveredByEntry says that the path lies inside an entry that only one side
// has.
func coveredByEntry(path string, before, after map[string]string) bool {
	end := strings.Index(path, "].")
	if end < 0 {
		return false
	}
	entry := path[:end+1]
	_, a := before[entry]
	_, b := after[entry]
	return a != b
}
