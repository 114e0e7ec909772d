package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

type fleetBackups struct {
	cv1.UnimplementedBackupServiceServer
	*fleet
}

func (f fleetBackups) DownloadBackup(m *cv1.DownloadBackupRequest, stream grpc.ServerStreamingServer[cv1.DownloadBackupResponse]) error {
	if err := f.took(m); err != nil {
		return err
	}
	for _, part := range f.backup {
		if err := stream.Send(part); err != nil {
			return err
		}
	}
	return nil
}

// someBackup is a download of a text in two chunks.
func someBackup(text string) []*cv1.DownloadBackupResponse {
	sum := sha256.Sum256([]byte(text))
	chunk := func(s string) *cv1.DownloadBackupResponse {
		return &cv1.DownloadBackupResponse{Part: &cv1.DownloadBackupResponse_Chunk{Chunk: []byte(s)}}
	}
	return []*cv1.DownloadBackupResponse{
		{Part: &cv1.DownloadBackupResponse_Header{Header: &cv1.BackupHeader{ClusterId: "4f2a90c1d3e5b677", SizeBytes: int64(len(text)), CreateTime: ago(0)}}},
		chunk(text[:3]), chunk(text[3:]),
		{Part: &cv1.DownloadBackupResponse_Trailer{Trailer: &cv1.BackupTrailer{Sha256: hex.EncodeToString(sum[:])}}},
	}
}

func TestABackupIsWrittenWholeOrNotAtAll(t *testing.T) {
	good := someBackup("everything")
	damaged := proto.CloneOf(good[1])
	damaged.GetChunk()[0] ^= 1
	for name, tc := range map[string]struct {
		parts []*cv1.DownloadBackupResponse
		code  int
		says  string
	}{
		"whole":               {good, ExitOK, "10 bytes"},
		"broken off":          {good[:2], ExitFailed, "broke off after 3 of 10 bytes"},
		"a chunk is missing":  {[]*cv1.DownloadBackupResponse{good[0], good[1], good[3]}, ExitFailed, "damaged on its way"},
		"a bit is flipped":    {[]*cv1.DownloadBackupResponse{good[0], damaged, good[2], good[3]}, ExitFailed, "damaged on its way"},
		"without a beginning": {good[1:], ExitFailed, "does not begin with a header"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet()
			f.backup = tc.parts
			w := newWorld(t, f)
			if code := w.run(t, "backup", "b.db"); code != tc.code || !strings.Contains(w.out.String()+w.err.String(), tc.says) {
				t.Errorf("exit code %d, want %d, and %q in\n%s%s", code, tc.code, tc.says, w.out.String(), w.err.String())
			}
			text, written := w.written["b.db"]
			if written != (tc.code == ExitOK) || written && text != "everything" {
				t.Errorf("the file holds %q (written: %v)", text, written)
			}
		})
	}
}

func TestABackupFromAnOldCoordinatorIsRefused(t *testing.T) {
	f := newFleet()
	f.backup = nil
	w := newWorld(t, f)
	if code := w.run(t, "backup", "b.db"); code == ExitOK || len(w.written) != 0 {
		t.Errorf("exit code %d, written %v: nothing came, so nothing may be written", code, w.written)
	}
}
