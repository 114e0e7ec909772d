package tdx

import (
	"encoding/binary"
	"fmt"
)

// cursor reads little-endian fields from the front of rest and keeps the first
// error; after an error every read gives zero values.
type cursor struct {
	rest []byte
	err  error
}

// take returns the next n bytes, sharing them, or nil if they are not there.
func (c *cursor) take(n int64, what string) []byte {
	if c.err != nil {
		return nil
	}
	if n > int64(len(c.rest)) {
		c.err = fmt.Errorf("the quote ends within the %s: %d bytes needed, %d left", what, n, len(c.rest))
		return nil
	}
	out := c.rest[:n:n]
	c.rest = c.rest[n:]
	return out
}

func (c *cursor) copy(dst []byte, what string) { copy(dst, c.take(int64(len(dst)), what)) }

func (c *cursor) uint16(what string) uint16 {
	if b := c.take(2, what); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32(what string) uint32 {
	if b := c.take(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// typed reads a certification data structure (type, size, bytes), whose type
// must be the one given, and returns a cursor over its bytes.
func (c *cursor) typed(want uint16, what string) *cursor {
	got := c.uint16(what)
	size := c.uint32(what)
	data := c.take(int64(size), what)
	if c.err == nil && got != want {
		c.err = fmt.Errorf("%s is of type %d, expected %d", what, got, want)
	}
	return &cursor{rest: data, err: c.err}
}
