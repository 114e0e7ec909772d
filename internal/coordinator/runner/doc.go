// Package runner drives the engine: it commits what the engine decides, then
// carries out the effects, then feeds what comes of them back as events. It keeps
// nothing of its own that the store does not have: a crash at any point is the
// same as a start.
package runner
