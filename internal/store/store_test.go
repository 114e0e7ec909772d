package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

func TestErrorsAreFoundByTheirSentinels(t *testing.T) {
	for err, want := range map[error]error{
		&store.ConflictError{Key: "a"}:          store.ErrConflict,
		&store.CompactedError{From: 1}:          store.ErrCompacted,
		&store.CorruptError{Path: "/var/store"}: store.ErrCorrupt,
	} {
		if !errors.Is(fmt.Errorf("doing: %w", err), want) {
			t.Errorf("%v is not %v", err, want)
		}
		if errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v is ErrNotFound", err)
		}
	}
}

func TestErrorsSayWhatAndWhatToDo(t *testing.T) {
	for want, err := range map[string]error{
		`conflict on "a": want no record, have revision 3`:   &store.ConflictError{Key: "a", Have: 3},
		`conflict on "a": want a record, have no record`:     &store.ConflictError{Key: "a", Want: store.AnyRevision},
		`conflict on "a": want revision 2, have revision 3`:  &store.ConflictError{Key: "a", Want: 2, Have: 3},
		`list again and watch from that revision`:            &store.CompactedError{From: 1, Oldest: 5},
		`store /s is damaged: it is empty; restore a backup`: &store.CorruptError{Path: "/s", Reason: "it is empty", Advice: "restore a backup"},
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestKeysArePrintable(t *testing.T) {
	for _, key := range []string{"a", "/", "container/org-1/é", "世界", "a b", strings.Repeat("k", store.MaxKeyBytes)} {
		if err := store.CheckKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"", "\x00", "a\n", "\x7f", "\xc3", "a\u202eb", "\u00a0", "a\ufeff"} {
		if err := store.CheckKey(key); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", key, err)
		}
	}
}

func TestEventTypesHaveNames(t *testing.T) {
	for want, typ := range map[string]store.EventType{"put": store.EventPut, "delete": store.EventDelete, "none": 0} {
		if typ.String() != want {
			t.Errorf("%d is %q, want %q", typ, typ, want)
		}
	}
}
