// Package record is the form in which typed values lie in the store: JSON in an
// envelope that says what they are and in which version.
//
//	{"kind":"container","v":2,"data":{…}}
//
// Reading is strict. A value of another kind, with a field that its type does
// not have, or from a newer program, is refused and not guessed at: what would
// be dropped in reading would be lost in the next writing.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/casemate-dev/casemate/internal/store"
)

// MaxBytes bounds an encoded record; it is what a store takes.
const MaxBytes = store.MaxValueBytes

// ErrMalformed is what every error of Decode is, but a *VersionError.
var ErrMalformed = errors.New("malformed record")

// VersionError says that a record was written by a newer program.
type VersionError struct {
	Kind string
	// Version is the record's, Known the newest that this program reads.
	Version, Known int
}

// Error says what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s record has version %d, this program knows up to %d: run the newer program, or restore a backup from before the upgrade",
		e.Kind, e.Version, e.Known)
}

// Upgrade turns the data of one version into that of the next.
type Upgrade func(data []byte) ([]byte, error)

// Codec writes and reads the records of one kind, whose data is a T.
type Codec[T any] struct {
	kind     string
	upgrades []Upgrade
	// head is how a record of the current version begins, before its data.
	head string
}

// New returns the codec of a kind. The first upgrade leads from version 1 to 2,
// and so on; the current version is the one after the last. It panics if kind is
// empty: kinds are constants.
func New[T any](kind string, upgrades ...Upgrade) Codec[T] {
	if kind == "" {
		panic("record: a kind needs a name")
	}
	c := Codec[T]{kind: kind, upgrades: upgrades}
	head, err := json.Marshal(&envelope[jsontext.Value]{Kind: kind, Version: c.Version(), Data: jsontext.Value("0")}, writing)
	if err != nil {
		panic("record: " + err.Error())
	}
	c.head = strings.TrimSuffix(string(head), "0}")
	return c
}

// Kind returns the name given to New.
func (c Codec[T]) Kind() string { return c.kind }

// Version returns the version that Encode writes.
func (c Codec[T]) Version() int { return len(c.upgrades) + 1 }

// The bytes are those that encoding/json writes. They are read in half its time: a
// coordinator does little else than to write and read records.
var (
	writing = jsonv1.DefaultOptionsV1()
	reading = json.JoinOptions(jsonv1.DefaultOptionsV1(), json.RejectUnknownMembers(true))
)

// envelope is the outer object of a record.
type envelope[D any] struct {
	Kind    string `json:"kind"`
	Version int    `json:"v"`
	Data    D      `json:"data"`
}

// Encode returns the record of v, or store.ErrTooLarge if that is over MaxBytes.
func (c Codec[T]) Encode(v T) ([]byte, error) {
	data, err := json.Marshal(&envelope[T]{Kind: c.kind, Version: c.Version(), Data: v}, writing)
	if err != nil {
		return nil, fmt.Errorf("encoding %s record: %w", c.kind, err)
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("encoding %s record: %w: %d bytes, limit is %d", c.kind, store.ErrTooLarge, len(data), MaxBytes)
	}
	return data, nil
}

// Decode returns the value of a record, upgraded to the current version. The
// error is ErrMalformed, or a *VersionError for a version from the future.
func (c Codec[T]) Decode(record []byte) (T, error) {
	var zero T
	if len(record) > MaxBytes {
		return zero, c.malformed(fmt.Errorf("%w: %d bytes, limit is %d", store.ErrTooLarge, len(record), MaxBytes))
	}
	if v, ok := c.asWritten(record); ok {
		return v, nil
	}
	var env envelope[jsontext.Value]
	if err := json.Unmarshal(record, &env, reading); err != nil {
		return zero, c.malformed(err)
	}
	if env.Kind != c.kind {
		return zero, c.malformed(fmt.Errorf("it is of kind %q", env.Kind))
	}
	if env.Version > c.Version() {
		return zero, &VersionError{Kind: c.kind, Version: env.Version, Known: c.Version()}
	}
	if env.Version < 1 || env.Data == nil {
		return zero, c.malformed(errors.New("it has no version or no data"))
	}
	data, err := c.upgrade(env.Data, env.Version)
	if err != nil {
		return zero, c.malformed(err)
	}
	var v T
	if err := json.Unmarshal(data, &v, reading); err != nil {
		return zero, c.malformed(err)
	}
	return v, nil
}

// asWritten decodes a record of the current version whose envelope looks as Encode
// writes it, in one pass: what stands between head and the last brace is all of
// its data if it is one JSON value. What it does not take is judged by Decode.
func (c Codec[T]) asWritten(record []byte) (v T, ok bool) {
	data, ok := bytes.CutPrefix(record, []byte(c.head))
	if !ok || len(data) == 0 || data[len(data)-1] != '}' || json.Unmarshal(data[:len(data)-1], &v, reading) != nil {
		var zero T
		return zero, false
	}
	return v, true
}

func (c Codec[T]) upgrade(data []byte, version int) ([]byte, error) {
	for i := version - 1; i < len(c.upgrades); i++ {
		next, err := c.upgrades[i](data)
		if err != nil {
			return nil, fmt.Errorf("upgrading from version %d: %w", i+1, err)
		}
		data = next
	}
	return data, nil
}

func (c Codec[T]) malformed(err error) error {
	return fmt.Errorf("%w of kind %s: %w", ErrMalformed, c.kind, err)
}
