package store_test

import (
	"errors"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

func TestFollowHandsOnWhatChangesUnderThePrefix(t *testing.T) {
	s := memory.New(memory.Config{})
	defer s.Close()
	put := func(key, value string) int64 {
		t.Helper()
		rev, err := s.Txn(t.Context(), nil, []store.Op{store.Put(key, []byte(value))})
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	from := put("a/1", "before")
	put("a/1", "x")
	put("b/1", "y")
	put("a/2", "z")
	enough := errors.New("enough")
	var got []string
	err := store.Follow(t.Context(), s, "a/", from, func(ev store.Event) error {
		got = append(got, ev.KV.Key+"="+string(ev.KV.Value))
		if len(got) == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || len(got) != 2 || got[0] != "a/1=x" || got[1] != "a/2=z" {
		t.Errorf("told of %v, then %v, want a/1=x, a/2=z and the error of who was told", got, err)
	}
}

func TestFollowSaysThatChangesAreLost(t *testing.T) {
	s := memory.New(memory.Config{HistoryEvents: 1})
	defer s.Close()
	for range 3 {
		if _, err := s.Txn(t.Context(), nil, []store.Op{store.Put("a/1", nil)}); err != nil {
			t.Fatal(err)
		}
	}
	err := store.Follow(t.Context(), s, "a/", 0, func(store.Event) error { return errors.New("told of a change") })
	if !errors.Is(err, store.ErrCompacted) {
		t.Errorf("following from before the history gives %v, want ErrCompacted", err)
	}
}
