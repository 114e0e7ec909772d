// Package engine decides how a container moves from one revision to another, is
// stopped and is deleted. It is a pure function: [Engine.Step] takes a state and
// an event and returns the next state and the effects to carry out. It has no
// goroutine, clock, network or store.
//
// A runner commits the state first, then carries out the effects, and feeds what
// comes of them back as events. After a crash it hands every unfinished state a
// [Resume] event and gets the effects of the current step again: every effect is
// idempotent, so recovery is the normal path.
package engine
