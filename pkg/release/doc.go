// Package release turns the config file at the root of a tagged repository
// into a validated spec.
//
// The config file is casemate.yml or tinfoil-config.yml; both have one schema
// (docs/config.md lists every key and every refusal). Parse is strict: a key
// that is unknown, given twice, merged or aliased, an image without a digest, a
// file over MaxFileBytes are refused with line, column and reason, and all
// faults of a file are reported together, so that a config is wrong before
// anything boots and not after.
//
// The package is pure: bytes in, spec out. Package git beneath it fetches the
// bytes of a tag.
package release
