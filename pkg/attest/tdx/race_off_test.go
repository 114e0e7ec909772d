//go:build !race

package tdx_test

const exhaustiveStride = 1
