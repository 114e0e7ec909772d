// Package backup hands copies of the coordinator's store to operators while it
// runs.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
)

const (
	// atOnce bounds the downloads in progress: each holds a copy of the store on
	// the coordinator's disk.
	atOnce = 2
	// chunk is how many bytes go in one message.
	chunk = 256 << 10
	// prefix begins the folders in which copies are made.
	prefix = "download-"
)

// Source is a store that can be copied while it is written to.
type Source interface {
	// Backup writes a copy as of one moment to path, which must not exist.
	Backup(ctx context.Context, path string) error
}

// Config describes a Service.
type Config struct {
	Source Source
	// Folder is where copies lie while they are made: on the coordinator's disk,
	// and nobody else's to read.
	Folder string
	// ClusterID names whose store it is.
	ClusterID string
	Now       func() time.Time
}

// Service implements BackupService of casemate.coordinator.v1.
type Service struct {
	cv1.UnimplementedBackupServiceServer
	cfg   Config
	slots chan struct{}
}

// New returns the service, having removed what a coordinator that died while it
// made a copy has left in the folder.
func New(cfg Config) (*Service, error) {
	if cfg.Source == nil || cfg.Folder == "" || cfg.ClusterID == "" || cfg.Now == nil {
		return nil, errors.New("backup: every part of Config is required")
	}
	left, err := filepath.Glob(filepath.Join(cfg.Folder, prefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("backup: look for old copies: %w", err)
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("backup: remove an old copy: %w", err)
		}
	}
	return &Service{cfg: cfg, slots: make(chan struct{}, atOnce)}, nil
}

// Register adds the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { cv1.RegisterBackupServiceServer(r, s) }

// DownloadBackup makes a copy of the store and sends it.
func (s *Service) DownloadBackup(_ *cv1.DownloadBackupRequest, stream grpc.ServerStreamingServer[cv1.DownloadBackupResponse]) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return rpc.Error(codes.ResourceExhausted, "BACKUPS_IN_PROGRESS", fmt.Sprintf("%d backups are being downloaded already: wait until one has ended", atOnce))
	}
	f, err := s.copy(stream.Context())
	if errors.Is(err, store.ErrFull) {
		return rpc.Error(codes.ResourceExhausted, "NO_ROOM_FOR_BACKUP", "the coordinator's disk has no room for a copy of the store beside it: free some")
	}
	if err != nil {
		return err
	}
	return errors.Join(s.send(f, stream), f.Close())
}

// copy makes a copy and returns it open: it has no name any more, so that
// nothing of it is left whatever happens.
func (s *Service) copy(ctx context.Context) (_ *os.File, err error) {
	dir, err := os.MkdirTemp(s.cfg.Folder, prefix)
	if err != nil {
		return nil, fmt.Errorf("make a folder for the backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "store.db")
	if err := s.cfg.Source.Backup(ctx, path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the backup: %w", err)
	}
	return f, nil
}

func (s *Service) send(f *os.File, stream grpc.ServerStreamingServer[cv1.DownloadBackupResponse]) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at the backup: %w", err)
	}
	header := &cv1.BackupHeader{ClusterId: s.cfg.ClusterID, SizeBytes: info.Size(), CreateTime: timestamppb.New(s.cfg.Now())}
	if err := stream.Send(&cv1.DownloadBackupResponse{Part: &cv1.DownloadBackupResponse_Header{Header: header}}); err != nil {
		return err
	}
	digest := sha256.New()
	if _, err := io.CopyBuffer(parts{stream}, io.TeeReader(f, digest), make([]byte, chunk)); err != nil {
		return err
	}
	trailer := &cv1.BackupTrailer{Sha256: hex.EncodeToString(digest.Sum(nil))}
	return stream.Send(&cv1.DownloadBackupResponse{Part: &cv1.DownloadBackupResponse_Trailer{Trailer: trailer}})
}

// parts sends what is written to it.
type parts struct {
	stream grpc.ServerStreamingServer[cv1.DownloadBackupResponse]
}

// Write sends p as one chunk.
func (w parts) Write(p []byte) (int, error) {
	err := w.stream.Send(&cv1.DownloadBackupResponse{Part: &cv1.DownloadBackupResponse_Chunk{Chunk: p}})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
