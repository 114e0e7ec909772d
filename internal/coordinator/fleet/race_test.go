//go:build race

package fleet

// raceEnabled: the race detector allows fewer goroutines than a large fleet has.
const raceEnabled = true
