package git

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/memory"
)

// unpack reads a pack into memory. It is read whole first, so that what it
// would unpack to is known, and bounded, before anything is unpacked: a few
// kilobytes of deltas can stand for many gigabytes.
func unpack(ctx context.Context, r io.Reader, maxPack, maxUnpacked int64) (storer.EncodedObjectStorer, error) {
	pack, err := io.ReadAll(io.LimitReader(r, maxPack+1))
	if err != nil {
		return nil, fmt.Errorf("%w: read the pack: %w", ErrUnreachable, errors.Join(ctx.Err(), err))
	}
	if int64(len(pack)) > maxPack {
		return nil, fmt.Errorf("%w: the commit is more than %d bytes packed; keep the config in a smaller repository", ErrTooLarge, maxPack)
	}
	if err := weigh(ctx, pack, maxUnpacked); err != nil {
		return nil, err
	}
	store := memory.NewStorage()
	if err := packfile.UpdateObjectStorage(store, bytes.NewReader(pack)); err != nil {
		return nil, fmt.Errorf("%w: unpack: %w", ErrUnreachable, err)
	}
	return store, nil
}

// maxObjects bounds the objects of one commit.
const maxObjects = 200_000

// weigh adds up what the objects of a pack unpack to.
func weigh(ctx context.Context, pack []byte, limit int64) error {
	scanner := packfile.NewScanner(bytes.NewReader(pack))
	_, count, err := scanner.Header()
	if err != nil {
		return fmt.Errorf("%w: pack header: %w", ErrUnreachable, err)
	}
	if count > maxObjects {
		return fmt.Errorf("%w: the commit has %d objects; at most %d are read", ErrTooLarge, count, maxObjects)
	}
	var total int64
	for range count {
		size, err := objectSize(scanner, limit-total)
		if err != nil {
			return err
		}
		if total += size; total > limit || total < 0 {
			return fmt.Errorf("%w: the commit unpacks to more than %d bytes; keep the config in a smaller repository", ErrTooLarge, limit)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
	}
	return nil
}

// objectSize is what the next object takes: its own length, and for a delta the
// length of what it makes as well.
func objectSize(scanner *packfile.Scanner, limit int64) (int64, error) {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return 0, fmt.Errorf("%w: pack object: %w", ErrUnreachable, err)
	}
	if header.Length > limit || header.Length < 0 {
		return limit + 1, nil
	}
	var head headBuffer
	if _, _, err := scanner.NextObject(&head); err != nil {
		return 0, fmt.Errorf("%w: pack object: %w", ErrUnreachable, err)
	}
	if header.Type != plumbing.OFSDeltaObject && header.Type != plumbing.REFDeltaObject {
		return header.Length, nil
	}
	made, err := head.deltaTarget()
	if err != nil || made > uint64(limit) {
		return limit + 1, nil
	}
	return header.Length + int64(made), nil
}

// headBuffer keeps the first bytes written to it.
type headBuffer struct{ head []byte }

// Write keeps what fits and takes everything.
func (h *headBuffer) Write(p []byte) (int, error) {
	if room := 2*binary.MaxVarintLen64 - len(h.head); room > 0 {
		h.head = append(h.head, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// deltaTarget reads the second of the two sizes that a delta begins with
// (gitformat-pack, "Deltified representation").
func (h *headBuffer) deltaTarget() (uint64, error) {
	_, n := binary.Uvarint(h.head)
	if n <= 0 {
		return 0, errors.New("delta without a base size")
	}
	size, n := binary.Uvarint(h.head[n:])
	if n <= 0 {
		return 0, errors.New("delta without a target size")
	}
	return size, nil
}
