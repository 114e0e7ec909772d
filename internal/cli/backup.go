package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

func newBackup(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy the coordinator's store into a new file while it runs", Args: cobra.ExactArgs(1),
		Long: `Copy the coordinator's store, as of one moment, into a new file on this machine. The
coordinator goes on meanwhile. The file appears whole, with mode 0600, or not at all;
one that exists already is left alone.

It holds everything that is wanted, and the secrets as they are sealed, but not the
master key that opens them: keep a copy of that apart. docs/restore.md says how it is
restored.`,
		Example: "  casemate backup /backup/store-2026-03-04.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.backup(cmd.Context(), args[0])
		},
	}
}

func (a *app) backup(ctx context.Context, path string) error {
	l, err := a.connect()
	if err != nil {
		return err
	}
	var got *cv1.BackupHeader
	err = a.env.WriteNew(path, 0o600, func(w io.Writer) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := l.backups.DownloadBackup(ctx, &cv1.DownloadBackupRequest{})
		if err != nil {
			return err
		}
		got, err = receiveBackup(stream, w)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return failedf("%s exists already and was left alone: name another file", terminal.Clean(path))
	}
	if err != nil {
		return err
	}
	return a.result(got, func(view.View) string {
		return fmt.Sprintf("%s holds the store of cluster %s, %d bytes; the master key of its secrets is not in it\n",
			terminal.Clean(path), view.Name(got.GetClusterId()), got.GetSizeBytes())
	})
}

// receiveBackup writes what comes, and holds it against what was said of it.
func receiveBackup(stream grpc.ServerStreamingClient[cv1.DownloadBackupResponse], w io.Writer) (*cv1.BackupHeader, error) {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	header := first.GetHeader()
	if header == nil {
		return nil, failedf("the backup does not begin with a header: the coordinator is of another version")
	}
	digest, size := sha256.New(), int64(0)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, failedf("the backup broke off after %d of %d bytes: repeat it", size, header.GetSizeBytes())
		}
		if err != nil {
			return nil, err
		}
		if t := m.GetTrailer(); t != nil {
			if size != header.GetSizeBytes() || t.GetSha256() != hex.EncodeToString(digest.Sum(nil)) {
				return nil, failedf("the backup was damaged on its way (%d of %d bytes, or another digest): repeat it", size, header.GetSizeBytes())
			}
			return header, nil
		}
		size += int64(len(m.GetChunk()))
		if _, err := io.MultiWriter(w, digest).Write(m.GetChunk()); err != nil {
			return nil, err
		}
	}
}
