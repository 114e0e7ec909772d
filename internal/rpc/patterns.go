package rpc

import "google.golang.org/protobuf/reflect/protoreflect"

// patternWords say what the patterns of the protos want, for people.
var patternWords = map[string]string{
	`^[a-z]([a-z0-9-]*[a-z0-9])?$`:        "must be lower-case letters, digits and hyphens, with a letter first and no hyphen last",
	`^[a-z0-9][a-z0-9-]*$`:                "must be lower-case letters, digits and hyphens, with no hyphen first",
	`^[A-Za-z_][A-Za-z0-9_]*$`:            "must be letters, digits and underscores, with no digit first",
	`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`:    "must be lower-case letters, digits, dots and hyphens, with a letter or digit first and last",
	`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$`: "must be lower-case letters, digits, dots and hyphens, with a letter or digit first and last",
	`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`:        "must be letters, digits, dots, hyphens and underscores, with a letter or digit first",
	`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*)?$`: "must be a domain name in lower case",
}

// violation is what a broken rule wants: the rule's own message, or of a pattern that
// has words, those.
func violation(message string, rule protoreflect.Value) string {
	if pattern, ok := rule.Interface().(string); ok && patternWords[pattern] != "" {
		return patternWords[pattern]
	}
	return message
}
