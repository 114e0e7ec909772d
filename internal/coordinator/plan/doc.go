// Package plan chooses where a revision runs and how a container gets there. It
// is pure: hosts in, decision and its reason in words out, the same every time.
package plan
