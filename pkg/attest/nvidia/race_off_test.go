//go:build !race

package nvidia

// sampleSize is about how many bits of a file are changed in the sample.
const sampleSize = 150
