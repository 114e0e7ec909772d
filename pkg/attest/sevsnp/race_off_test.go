//go:build !race

package sevsnp_test

const raceOn = false
