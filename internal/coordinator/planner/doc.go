// Package planner turns what a user asks for into what would be done: it pins
// the tag, checks config and inputs, finds or makes the revision, compares it
// with what runs, and asks package plan where it goes. It changes nothing.
package planner
