package nvidia

import (
	"encoding/binary"
	"fmt"
)

// reader takes fields off the front of a byte string. After the first field that
// is not there it only returns zeros, and err says which one it was.
type reader struct {
	rest []byte
	err  error
}

// take returns the next n bytes, or nil once the reader has failed.
func (r *reader) take(n int, field string) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.rest) {
		r.err = fmt.Errorf("%s needs %d bytes, %d are left", field, n, len(r.rest))
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8(field string) byte {
	if b := r.take(1, field); b != nil {
		return b[0]
	}
	return 0
}

// u16 and u24 read little-endian numbers, SPDM's byte order.
func (r *reader) u16(field string) int {
	if b := r.take(2, field); b != nil {
		return int(binary.LittleEndian.Uint16(b))
	}
	return 0
}

func (r *reader) u24(field string) int {
	if b := r.take(3, field); b != nil {
		return int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	}
	return 0
}
