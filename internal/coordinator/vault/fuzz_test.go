package vault

import (
	"bytes"
	"errors"
	"testing"
)

// Sealed values lie in the store and in its backups: what was not sealed for a
// place under this key does not open there. (Seals are salted: each of the
// fuzzer's processes has another genuine one.)
func FuzzSealedValue(f *testing.F) {
	v, err := New(bytes.Repeat([]byte("k"), KeySize))
	if err != nil {
		f.Fatal(err)
	}
	genuine := v.Seal("acme", "API_KEY", 1, []byte("hunter2"))
	f.Add("acme", "API_KEY", int64(1), genuine)
	f.Add("acme", "API_KEY", int64(2), genuine)
	f.Add("acmeA", "PI_KEY", int64(1), genuine)
	f.Add("", "", int64(-1), []byte{})
	f.Fuzz(func(t *testing.T, org, name string, version int64, sealed []byte) {
		value, err := v.Open(org, name, version, sealed)
		if err != nil {
			if !errors.Is(err, ErrWrongKey) {
				t.Errorf("refused with %v, want ErrWrongKey", err)
			}
			return
		}
		if org != "acme" || name != "API_KEY" || version != 1 || string(value) != "hunter2" {
			t.Errorf("%q opens as %s/%s version %d: %q", sealed, org, name, version, value)
		}
	})
}
