// Package follow reads a watch of the coordinator for as long as it takes, across
// broken streams.
package follow
