package judge

import (
	"encoding/pem"
	"testing"
)

// A file of roots is taken whole or not at all.
func FuzzParseRoots(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))
	f.Add([]byte("  \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		roots, err := ParseRoots(text)
		if (err == nil) != (len(roots) > 0) {
			t.Errorf("%d roots and %v", len(roots), err)
		}
	})
}
