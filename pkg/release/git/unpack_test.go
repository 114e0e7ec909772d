package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// packed is an object as a pack declares and holds it.
type packed struct {
	kind     plumbing.ObjectType
	declared int
	content  []byte
}

// pack builds a pack (gitformat-pack).
func pack(t testing.TB, objects ...packed) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("PACK")
	for _, n := range []uint32{2, uint32(len(objects))} {
		if err := binary.Write(&b, binary.BigEndian, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range objects {
		first, rest := byte(o.kind)<<4|byte(o.declared&15), o.declared>>4
		for rest > 0 {
			b.WriteByte(first | 0x80)
			first, rest = byte(rest&0x7f), rest>>7
		}
		b.WriteByte(first)
		if o.kind == plumbing.REFDeltaObject {
			b.Write(make([]byte, 20))
		}
		z := zlib.NewWriter(&b)
		if _, err := z.Write(o.content); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha1.Sum(b.Bytes())
	return append(b.Bytes(), sum[:]...)
}

func blob(content []byte) packed { return packed{plumbing.BlobObject, len(content), content} }

// delta declares a base and a target size and nothing else.
func delta(target uint64) packed {
	head := binary.AppendUvarint(binary.AppendUvarint(nil, 10), target)
	return packed{plumbing.REFDeltaObject, len(head), head}
}

func TestPacksAreWeighedBeforeTheyAreUnpacked(t *testing.T) {
	zeroes := make([]byte, 1<<20)
	for _, tc := range []struct {
		rule string
		data []byte
		want error
	}{
		{"a small blob", pack(t, blob([]byte("hello"))), nil},
		{"a blob that inflates beyond the limit", pack(t, blob(zeroes)), ErrTooLarge},
		{"blobs that do so together", pack(t, blob(zeroes[:60_000]), blob(zeroes[:60_000])), ErrTooLarge},
		{"a delta that makes a terabyte", pack(t, delta(1<<40)), ErrTooLarge},
		{"a delta that overflows", pack(t, delta(1<<63)), ErrTooLarge},
		{"more bytes than declared", pack(t, packed{plumbing.BlobObject, 3, zeroes}), ErrUnreachable},
		{"a delta without its base", pack(t, delta(10)), ErrUnreachable},
		{"no pack at all", []byte("hello"), ErrUnreachable},
		{"a pack cut short", pack(t, blob([]byte("hello")))[:20], ErrUnreachable},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			_, err := unpack(context.Background(), bytes.NewReader(tc.data), 1<<20, 100_000)
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestPackOverTheLimitIsNotKept(t *testing.T) {
	_, err := unpack(context.Background(), bytes.NewReader(make([]byte, 1001)), 1000, 1000)
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestWeighingStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := weigh(ctx, pack(t, blob([]byte("a"))), 100); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack(f, blob([]byte("hello"))))
	f.Add(pack(f, delta(1<<40)))
	f.Add([]byte("PACK"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := unpack(context.Background(), bytes.NewReader(data), 1<<16, 1<<16)
		if err != nil && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrUnreachable) {
			t.Fatalf("an error of another kind: %v", err)
		}
	})
}
