//go:build race

package tdx_test

// exhaustiveStride thins the exhaustive tests out under the race detector, which
// makes them twenty times slower; the full set runs without it.
const exhaustiveStride = 211
