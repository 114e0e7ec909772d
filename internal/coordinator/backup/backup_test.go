package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves backups of src over gRPC.
func serve(t *testing.T, src Source, folder string) cv1.BackupServiceClient {
	t.Helper()
	s, err := New(Config{Source: src, Folder: folder, ClusterID: "cl", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	lis := bufconn.Listen(1 << 16)
	server, err := rpc.NewServer(rpc.Config{Log: slog.New(slog.DiscardHandler), Register: s.Register, Local: []net.Listener{lis}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cerr := conn.Close()
		cancel()
		if err := errors.Join(cerr, <-done); err != nil {
			t.Error(err)
		}
	})
	return cv1.NewBackupServiceClient(conn)
}

// download writes a backup to path and holds its bytes against its header and
// trailer.
func download(t *testing.T, c cv1.BackupServiceClient, path string) {
	t.Helper()
	stream, err := c.DownloadBackup(t.Context(), &cv1.DownloadBackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var header *cv1.BackupHeader
	var trailer *cv1.BackupTrailer
	var data []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header == nil && m.GetHeader() == nil || trailer != nil {
			t.Fatalf("%T comes before the header or after the trailer", m.GetPart())
		}
		if m.GetHeader() != nil {
			header = m.GetHeader()
		}
		data, trailer = append(data, m.GetChunk()...), m.GetTrailer()
	}
	sum := sha256.Sum256(data)
	if header.GetClusterId() != "cl" || header.GetSizeBytes() != int64(len(data)) || trailer.GetSha256() != hex.EncodeToString(sum[:]) {
		t.Fatalf("%v and %v don't describe the %d bytes that came", header, trailer, len(data))
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// writePairs puts the same number under two keys, again and again, until ctx
// ends; wrote hears of every number.
func writePairs(ctx context.Context, st store.Store, wrote func(n int)) error {
	for n := 1; ; n++ {
		value := fmt.Appendf(nil, "%0*d", 2000, n)
		if _, err := st.Txn(ctx, nil, []store.Op{store.Put("left", value), store.Put("right", value)}); err != nil {
			return err
		}
		wrote(n)
	}
}

func TestABackupWhileWritesGoOnIsOneMoment(t *testing.T) {
	folder := t.TempDir()
	st := open(t, filepath.Join(folder, "store.db"))
	c := serve(t, st, folder)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	progress, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- writePairs(ctx, st, func(int) {
			select {
			case progress <- struct{}{}:
			default:
			}
		})
	}()
	for i := range 4 {
		for range 2 { // the second was sent after the last backup
			select {
			case <-progress:
			case err := <-ended:
				t.Fatalf("the writes ended early: %v", err)
			}
		}
		before, err := st.Get(t.Context(), "left")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "backup.db")
		download(t, c, path)
		checkRestored(t, path, i, before)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the writes ended with %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, prefix+"*")); len(left) > 0 {
		t.Errorf("left in the state folder: %v", left)
	}
}

// checkRestored opens a backup in the place of a store.
func checkRestored(t *testing.T, path string, nth int, before store.KV) {
	t.Helper()
	restored := open(t, path)
	left, err := restored.Get(t.Context(), "left")
	if err != nil {
		t.Fatal(err)
	}
	right, err := restored.Get(t.Context(), "right")
	if err != nil {
		t.Fatal(err)
	}
	if string(left.Value) != string(right.Value) || string(left.Value) < string(before.Value) {
		t.Errorf("backup %d has %s and %s, the store had %s before it", nth, left.Value, right.Value, before.Value)
	}
	if rev, err := restored.Revision(t.Context()); err != nil || rev < left.ModRevision+store.RestoreLeap {
		t.Errorf("backup %d goes on at revision %d, %v: it does not leap", nth, rev, err)
	}
}

// stuck makes copies only when it is let.
type stuck struct {
	began chan struct{}
	let   chan error
}

func (s *stuck) Backup(ctx context.Context, path string) error {
	s.began <- struct{}{}
	select {
	case err := <-s.let:
		return errors.Join(err, os.WriteFile(path, []byte("copy"), 0o600))
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestMoreBackupsThanTheDiskIsMeantForAreRefused(t *testing.T) {
	src := &stuck{began: make(chan struct{}), let: make(chan error)}
	c := serve(t, src, t.TempDir())
	var streams []grpc.ServerStreamingClient[cv1.DownloadBackupResponse]
	for range atOnce {
		stream, err := c.DownloadBackup(t.Context(), &cv1.DownloadBackupRequest{})
		if err != nil {
			t.Fatal(err)
		}
		<-src.began
		streams = append(streams, stream)
	}
	if reason := refusal(t, c); reason != "BACKUPS_IN_PROGRESS" {
		t.Errorf("one more backup: %s, want BACKUPS_IN_PROGRESS", reason)
	}
	for range streams { // which of the copies goes on first is not said
		src.let <- nil
	}
	for _, stream := range streams {
		for err := error(nil); !errors.Is(err, io.EOF); _, err = stream.Recv() {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	go func() { <-src.began; src.let <- store.ErrFull }()
	if reason := refusal(t, c); reason != "NO_ROOM_FOR_BACKUP" {
		t.Errorf("a backup with a full disk: %s, want NO_ROOM_FOR_BACKUP", reason)
	}
}

// refusal returns the reason for which a download is refused.
func refusal(t *testing.T, c cv1.BackupServiceClient) string {
	t.Helper()
	stream, err := c.DownloadBackup(t.Context(), &cv1.DownloadBackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	return rpc.Reason(err)
}

func TestCopiesThatACrashLeftAreRemoved(t *testing.T) {
	folder := t.TempDir()
	dir := filepath.Join(folder, prefix+"123")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "store.db"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Source: &stuck{}, Folder: folder, ClusterID: "cl", Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(folder); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestConfigIsRequired(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a service without a source was made")
	}
}
