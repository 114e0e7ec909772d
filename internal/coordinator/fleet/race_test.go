//go:build race

package fleet

// raceEnabled: the race detector allows fewer goroutines than a large fleet has, and
// fails a check of its own now and then before that.
const raceEnabled = true
