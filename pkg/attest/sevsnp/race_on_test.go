//go:build race

package sevsnp_test

// raceOn tells that the race detector is on, which makes every signature ten times
// slower.
const raceOn = true
