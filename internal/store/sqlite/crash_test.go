package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

const (
	childDir   = "CASEMATE_STORE_CRASH_DIR"
	childPoint = "CASEMATE_STORE_CRASH_POINT"
	// childWriters write at once, so that groups have several members.
	childWriters = 6
)

// runChild writes without end, and says on stdout what was acknowledged. With a
// point like "applied:7" it kills itself when it passes there the seventh time.
func runChild(dir, point string) error {
	cfg := Config{Path: filepath.Join(dir, "store.db"), HistoryEvents: 200, at: dieAt(point)}
	name, _, _ := strings.Cut(point, ":")
	if name == "migrating" || name == "migrated" {
		migrations = append(migrations, nextMigration)
	}
	st, err := Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	if slices.Contains(backupPoints, name) {
		go backups(st, dir)
	}
	var out sync.Mutex
	var writers sync.WaitGroup
	for id := range childWriters {
		writers.Go(func() {
			err := countUp(context.Background(), st, id, func(n int) {
				out.Lock()
				defer out.Unlock()
				fmt.Printf("%d %d\n", id, n)
			})
			fmt.Fprintln(os.Stderr, err)
		})
	}
	writers.Wait()
	return errors.New("the writers gave up")
}

func dieAt(point string) func(string) {
	name, nth, ok := strings.Cut(point, ":")
	if !ok {
		return nil
	}
	limit, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		panic(err)
	}
	var passed atomic.Int64
	return func(at string) {
		if at == name && passed.Add(1) == limit {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// countUp raises two keys in step, each time from the revision it last saw.
func countUp(ctx context.Context, st store.Store, id int, acknowledged func(n int)) error {
	left, right := fmt.Sprintf("left/%d", id), fmt.Sprintf("right/%d", id)
	n, revision := 0, int64(0)
	kv, err := st.Get(ctx, left)
	if err == nil {
		n, err = strconv.Atoi(string(kv.Value))
		revision = kv.ModRevision
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for {
		n++
		value := []byte(strconv.Itoa(n))
		revision, err = st.Txn(ctx, []store.Compare{store.ModRevision(left, revision)},
			[]store.Op{store.Put(left, value), store.Put(right, value)})
		if err != nil {
			return err
		}
		acknowledged(n)
	}
}

func TestKilledStoreKeepsWhatItAcknowledged(t *testing.T) {
	points := []string{"", "begun:1", "begun:40", "applied:1", "applied:40", "committed:1", "committed:40", "answered:1", "answered:40", ""}
	dir := t.TempDir()
	acknowledged := make([]int, childWriters)
	for round, point := range points {
		killChild(t, dir, point, 150+37*round, acknowledged)
		checkSurvivor(t, dir, point, acknowledged)
	}
}

// killChild runs a child, notes what it acknowledged, and kills it after lines
// of that unless it has died at its point before.
func killChild(t *testing.T, dir, point string, lines int, acknowledged []int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childPoint+"="+point)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	for seen := 1; scanner.Scan(); seen++ {
		var id, n int
		if _, err := fmt.Sscanf(scanner.Text(), "%d %d", &id, &n); err == nil && id < childWriters {
			acknowledged[id] = n
		}
		if seen == lines && point == "" {
			_ = cmd.Process.Kill()
		}
	}
	var died *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &died) || died.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child at %q ended with %v, want to be killed", point, err)
	}
}

// checkSurvivor opens the store that a killed process left.
func checkSurvivor(t *testing.T, dir, point string, acknowledged []int) {
	t.Helper()
	ctx := t.Context()
	st, err := Open(ctx, Config{Path: filepath.Join(dir, "store.db"), HistoryEvents: 200})
	if err != nil {
		t.Fatalf("opening after a kill at %q: %v", point, err)
	}
	defer func() { _ = st.Close() }()
	for id, n := range acknowledged {
		left, right := readNumber(t, st, fmt.Sprintf("left/%d", id)), readNumber(t, st, fmt.Sprintf("right/%d", id))
		if left != right {
			t.Errorf("after a kill at %q a transaction is half applied: %d and %d", point, left, right)
		}
		if left < n || left > n+1 {
			t.Errorf("after a kill at %q writer %d has %d, it was told %d", point, id, left, n)
		}
		acknowledged[id] = left
	}
	checkHistory(t, st)
}

func readNumber(t *testing.T, st store.Store, key string) int {
	t.Helper()
	kv, err := st.Get(t.Context(), key)
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(kv.Value))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// checkHistory holds the newest event of each key against its record.
func checkHistory(t *testing.T, st *Store) {
	t.Helper()
	ctx := t.Context()
	list, err := st.List(ctx, "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	from := int64(0)
	var compacted *store.CompactedError
	if _, err := st.Watch(ctx, "", from); errors.As(err, &compacted) {
		from = compacted.Oldest
	}
	w, err := st.Watch(ctx, "", from)
	if err != nil {
		t.Fatal(err)
	}
	newest := make(map[string]int64)
	for last := from; last < list.Revision; {
		b, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if b.Revision != last+1 {
			t.Fatalf("history goes from revision %d to %d", last, b.Revision)
		}
		last = b.Revision
		for _, e := range b.Events {
			newest[e.KV.Key] = last
		}
	}
	for _, kv := range list.KVs {
		if rev, ok := newest[kv.Key]; ok && rev != kv.ModRevision {
			t.Errorf("%s is at revision %d, its history at %d", kv.Key, kv.ModRevision, rev)
		}
	}
}
