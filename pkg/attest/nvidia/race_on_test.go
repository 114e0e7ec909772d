//go:build race

package nvidia

// sampleSize is smaller under the race detector, which slows P-384 down tenfold.
const sampleSize = 10
