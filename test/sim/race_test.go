//go:build race

package sim

// raceEnabled: the race detector makes a run five times as long.
const raceEnabled = true
