package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

func TestBackupIsOneMomentOfARunningStore(t *testing.T) {
	dir := t.TempDir()
	st := mustOpen(t, Config{Path: filepath.Join(dir, "store.db")})
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	ready, ended := make(chan struct{}, 1), make(chan struct{})
	writers.Go(func() {
		defer close(ended)
		err := countUp(ctx, st, 0, func(int) {
			select {
			case ready <- struct{}{}:
			default:
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the writer ended with %v", err)
		}
	})
	for n := range 5 {
		select {
		case <-ready:
		case <-ended:
			t.Fatal("the writer has ended")
		}
		before := readNumber(t, st, "left/0")
		path := filepath.Join(dir, fmt.Sprintf("backup-%d.db", n))
		if err := st.Backup(t.Context(), path); err != nil {
			t.Fatalf("backup: %v", err)
		}
		after := readNumber(t, st, "left/0")
		restored := mustOpen(t, Config{Path: path})
		left, right := readNumber(t, restored, "left/0"), readNumber(t, restored, "right/0")
		if left != right || left < before || left > after+1 {
			t.Errorf("the backup has %d and %d, the store went from %d to %d", left, right, before, after)
		}
	}
}

func TestRestoredStoreTakesNoOldToken(t *testing.T) {
	dir := t.TempDir()
	st := mustOpen(t, Config{Path: filepath.Join(dir, "store.db")})
	etag := mustPut(t, st, "a", "old")
	backup := filepath.Join(dir, "backup.db")
	if err := st.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	lostEtag := mustPut(t, st, "a", "lost")

	for range 2 { // Opening it a second time must not leap again.
		restored := mustOpen(t, Config{Path: backup})
		if rev, err := restored.Revision(t.Context()); err != nil || rev != etag+store.RestoreLeap {
			t.Fatalf("revision %d, %v; want %d", rev, err, etag+store.RestoreLeap)
		}
		for _, token := range []int64{0, etag, lostEtag} {
			if _, err := restored.Watch(t.Context(), "", token); !errors.Is(err, store.ErrCompacted) {
				t.Errorf("token %d: %v, want ErrCompacted", token, err)
			}
		}
		if err := restored.Close(); err != nil {
			t.Fatal(err)
		}
	}
	restored := mustOpen(t, Config{Path: backup})
	if kv, err := restored.Get(t.Context(), "a"); err != nil || string(kv.Value) != "old" || kv.ModRevision != etag {
		t.Errorf("a is %+v, %v", kv, err)
	}
	_, err := restored.Txn(t.Context(), []store.Compare{store.ModRevision("a", lostEtag)}, []store.Op{store.Put("a", nil)})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("an etag from the lost time: %v, want a conflict", err)
	}
	if rev := mustPut(t, restored, "a", "new"); rev != etag+store.RestoreLeap+1 {
		t.Errorf("the next revision is %d", rev)
	}
	checkHistory(t, restored)
}

func TestBackupOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	st := mustOpen(t, Config{Path: filepath.Join(dir, "store.db")})
	mustPut(t, st, "a", "b")
	taken := filepath.Join(dir, "taken")
	mustWrite(t, taken, []byte("precious"))
	if err := st.Backup(t.Context(), taken); !errors.Is(err, os.ErrExist) {
		t.Errorf("backup over a file: %v, want ErrExist", err)
	}
	if got := mustRead(t, taken); string(got) != "precious" {
		t.Errorf("the file is now %q", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := st.Backup(ended, filepath.Join(dir, "never")); !errors.Is(err, context.Canceled) {
		t.Errorf("backup with an ended context: %v", err)
	}
	if err := st.Backup(t.Context(), filepath.Join(dir, "no", "folder")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("backup into no folder: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.partial*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBackupKeepsManyRecords(t *testing.T) {
	dir := t.TempDir()
	st := mustOpen(t, Config{Path: filepath.Join(dir, "store.db")})
	for chunk := range 3 {
		var ops []store.Op
		for i := range store.MaxOps {
			ops = append(ops, store.Put(fmt.Sprintf("k/%d/%d", chunk, i), []byte(strconv.Itoa(i))))
		}
		if _, err := st.Txn(t.Context(), nil, ops); err != nil {
			t.Fatal(err)
		}
	}
	backup := filepath.Join(dir, "backup.db")
	if err := st.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	want, err := st.List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := mustOpen(t, Config{Path: backup}).List(t.Context(), "", store.ListOptions{})
	if err != nil || len(got.KVs) != len(want.KVs) {
		t.Fatalf("the backup has %d records, %v; want %d", len(got.KVs), err, len(want.KVs))
	}
	for i := range want.KVs {
		if got.KVs[i].Key != want.KVs[i].Key || string(got.KVs[i].Value) != string(want.KVs[i].Value) {
			t.Fatalf("record %d differs", i)
		}
	}
}
