// Package strictjson reads JSON that comes from an adversary: one object whose
// members are all known, given once and spelt exactly, with nothing after it.
//
// encoding/json alone takes the last of two members with one name, matches
// names without regard to case, and reads base64 with stray line breaks: two
// readers of one document could see two documents.
package strictjson

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Fields says how the members of an object are read. A member that is not in
// the map is refused.
type Fields map[string]func(json.RawMessage) error

// Object reads one JSON object of at most limit bytes. Each name in required
// must be there; the other fields may be left out.
func Object(raw []byte, limit int, fields Fields, required ...string) error {
	seen := make(map[string]bool, len(fields))
	err := members(raw, limit, func(name string, value json.RawMessage) error {
		read, known := fields[name]
		switch {
		case !known:
			return fmt.Errorf("unknown member %.64q", name)
		case seen[name]:
			return fmt.Errorf("member %q is given twice", name)
		}
		seen[name] = true
		if err := read(value); err != nil {
			return fmt.Errorf("member %q: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range required {
		if !seen[name] {
			return fmt.Errorf("member %q is missing", name)
		}
	}
	return nil
}

// Map reads one JSON object of at most limit bytes whose names are not known
// beforehand; it may have up to most members, each given once.
func Map(raw []byte, limit, most int, each func(name string, value json.RawMessage) error) error {
	seen := map[string]bool{}
	return members(raw, limit, func(name string, value json.RawMessage) error {
		switch {
		case seen[name]:
			return fmt.Errorf("member %.64q is given twice", name)
		case len(seen) >= most:
			return fmt.Errorf("more than %d members", most)
		}
		seen[name] = true
		if err := each(name, value); err != nil {
			return fmt.Errorf("member %.64q: %w", name, err)
		}
		return nil
	})
}

func members(raw []byte, limit int, each func(string, json.RawMessage) error) error {
	switch {
	case len(raw) > limit:
		return fmt.Errorf("%d bytes; at most %d are read", len(raw), limit)
	case !utf8.Valid(raw):
		return errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := expect(dec, '{', "an object"); err != nil {
		return err
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read a member's name: %w", err)
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("a member's name must be a string, not %v", token)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("member %.64q: %w", name, err)
		}
		if err := each(name, value); err != nil {
			return err
		}
	}
	return atEnd(dec)
}

func expect(dec *json.Decoder, want json.Delim, what string) error {
	token, err := dec.Token()
	if err != nil {
		return fmt.Errorf("expected %s: %w", what, err)
	}
	if token != want {
		return fmt.Errorf("expected %s", what)
	}
	return nil
}

func atEnd(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("the object does not end: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}

// String reads a string of at most limit bytes.
func String(dst *string, limit int) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if len(raw) == 0 || raw[0] != '"' {
			return errors.New("must be a string")
		}
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("must be a string: %w", err)
		}
		if len(s) > limit {
			return fmt.Errorf("has %d bytes; at most %d are allowed", len(s), limit)
		}
		*dst = s
		return nil
	}
}

// Integer reads a whole decimal number between 0 and most.
func Integer[T ~int | ~int64 | ~uint64](dst *T, most T) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var n T
		if len(raw) == 0 || raw[0] < '0' || raw[0] > '9' {
			return errors.New("must be a whole number, 0 or more")
		}
		if err := json.Unmarshal(raw, &n); err != nil || n > most {
			return fmt.Errorf("must be a whole number up to %d", most)
		}
		*dst = n
		return nil
	}
}

// Bool reads true or false.
func Bool(dst *bool) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		switch string(raw) {
		case "true":
			*dst = true
		case "false":
			*dst = false
		default:
			return errors.New("must be true or false")
		}
		return nil
	}
}

// Hex fills dst from exactly twice as many lower-case hex digits.
func Hex(dst []byte) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var s string
		if err := String(&s, 2*len(dst))(raw); err != nil {
			return err
		}
		decoded, err := hex.DecodeString(s)
		if err != nil || len(decoded) != len(dst) || s != strings.ToLower(s) {
			return fmt.Errorf("must be %d lower-case hex digits", 2*len(dst))
		}
		copy(dst, decoded)
		return nil
	}
}

// Base64 reads canonical standard base64 of at most limit bytes decoded.
func Base64(dst *[]byte, limit int) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var s string
		if err := String(&s, base64.StdEncoding.EncodedLen(limit))(raw); err != nil {
			return err
		}
		decoded, err := base64.StdEncoding.Strict().DecodeString(s)
		if err != nil || base64.StdEncoding.EncodeToString(decoded) != s {
			return errors.New("must be canonical base64 with padding")
		}
		if len(decoded) > limit {
			return fmt.Errorf("has %d bytes; at most %d are allowed", len(decoded), limit)
		}
		*dst = decoded
		return nil
	}
}

// List reads a JSON list of at most limit entries.
func List[T any](dst *[]T, limit int, entry func(*T) func(json.RawMessage) error) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		dec := json.NewDecoder(bytes.NewReader(raw))
		if err := expect(dec, '[', "a list"); err != nil {
			return err
		}
		out := []T{}
		for dec.More() {
			if len(out) == limit {
				return fmt.Errorf("has more than %d entries", limit)
			}
			var value json.RawMessage
			var x T
			if err := dec.Decode(&value); err != nil {
				return fmt.Errorf("entry %d: %w", len(out), err)
			}
			if err := entry(&x)(value); err != nil {
				return fmt.Errorf("entry %d: %w", len(out), err)
			}
			out = append(out, x)
		}
		*dst = slices.Clip(out)
		return nil
	}
}
