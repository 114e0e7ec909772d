package api

import (
	"context"
	"slices"
	"strings"

	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

// paged is every request for a page.
type paged interface {
	GetPageSize() int32
	GetPageToken() string
}

// page returns a page of records in the order of their keys, and the token of
// the next.
func page[T any](ctx context.Context, s *Server, codec record.Codec[T], prefix string, m paged) ([]records.Item[T], string, error) {
	after, err := rpc.PageAfter(prefix, m.GetPageToken())
	if err != nil {
		return nil, "", err
	}
	items, more, err := records.List(ctx, s.cfg.Records, codec, prefix, store.ListOptions{After: after, Limit: rpc.PageSize(m.GetPageSize())})
	if err != nil || !more || len(items) == 0 {
		return items, "", err
	}
	return items, rpc.PageToken(prefix, items[len(items)-1].Key), nil
}

// pageDown is page for numbered records, by owner and then the newest first. It
// reads all of them: each owner keeps few.
func pageDown[T any](ctx context.Context, s *Server, codec record.Codec[T], prefix string, m paged) ([]records.Item[T], string, error) {
	after, err := rpc.PageAfter(prefix, m.GetPageToken())
	if err != nil {
		return nil, "", err
	}
	all, _, err := records.List(ctx, s.cfg.Records, codec, prefix, store.ListOptions{})
	if err != nil {
		return nil, "", err
	}
	slices.SortFunc(all, func(a, b records.Item[T]) int { return downward(a.Key, b.Key) })
	start := 0
	if after != "" {
		start, _ = slices.BinarySearchFunc(all, after, func(i records.Item[T], key string) int {
			if c := downward(i.Key, key); c != 0 {
				return c
			}
			return -1
		})
	}
	end := min(start+rpc.PageSize(m.GetPageSize()), len(all))
	if end == len(all) {
		return all[start:end], "", nil
	}
	return all[start:end], rpc.PageToken(prefix, all[end-1].Key), nil
}

// downward orders keys by owner, and those of one owner by falling number.
func downward(a, b string) int {
	i, j := strings.LastIndexByte(a, '/'), strings.LastIndexByte(b, '/')
	if c := strings.Compare(a[:i], b[:j]); c != 0 {
		return c
	}
	return strings.Compare(b[j:], a[i:])
}
