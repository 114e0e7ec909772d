// Package oneshot runs a program once, as a question and its answer: bounded in time
// and in what it may say.
package oneshot
