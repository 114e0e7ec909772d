package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

// WatchEnclaves implements agentv1.EnclaveServiceServer. Changes of one enclave
// that come faster than they are read are merged: the last one always arrives.
func (s *enclaveService) WatchEnclaves(req *agentv1.WatchEnclavesRequest, stream grpc.ServerStreamingServer[agentv1.WatchEnclavesResponse]) error {
	// A snapshot of what is not known yet would read as "nothing runs here".
	if !s.a.isAdopted() {
		return starting()
	}
	w, now := s.a.board.watch(req.GetId())
	defer w.close()
	out := newSender(stream.Context(), s.a.cfg.Times.Reader, stream.Send)
	host := s.hostIn(req, out)
	hostChanged, err := host()
	if err != nil {
		return err
	}
	for _, e := range now {
		if err := out.send(changed(e)); err != nil {
			return err
		}
	}
	synced := &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Synced{Synced: &agentv1.EnclavesSynced{}}}
	if err := out.send(synced); err != nil {
		return err
	}
	for {
		id, e, ok := w.take()
		if ok {
			m := changed(e)
			if e == nil {
				m = &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_DeletedId{DeletedId: id}}
			}
			if err := out.send(m); err != nil {
				return err
			}
			continue
		}
		select {
		case <-w.wake:
		case <-hostChanged:
			if hostChanged, err = host(); err != nil {
				return err
			}
		case <-s.a.stopping():
			return shuttingDown()
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// hostIn returns what sends the host's facts, if they were asked for, and returns
// what is closed when there are others.
func (s *enclaveService) hostIn(req *agentv1.WatchEnclavesRequest, out *sender[*agentv1.WatchEnclavesResponse]) func() (<-chan struct{}, error) {
	if !req.GetWithHost() {
		return func() (<-chan struct{}, error) { return nil, nil }
	}
	return func() (<-chan struct{}, error) {
		host, changed := s.a.host.get()
		return changed, out.send(&agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Host{Host: host}})
	}
}

func changed(e *agentv1.Enclave) *agentv1.WatchEnclavesResponse {
	return &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Changed{Changed: e}}
}

// consoleChunk is how much of a console log is sent at a time.
const consoleChunk = 32 << 10

// StreamConsole implements agentv1.EnclaveServiceServer.
func (s *enclaveService) StreamConsole(req *agentv1.StreamConsoleRequest, stream grpc.ServerStreamingServer[agentv1.StreamConsoleResponse]) error {
	if _, err := s.a.known(req.GetId()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-s.a.stopping():
		case <-ctx.Done():
		}
	}()
	r, err := s.a.cfg.Backend.Console(ctx, req.GetId(), enclave.ConsoleOptions{
		Follow: req.GetFollow(), TailLines: int(req.GetTailLines()),
	})
	if errors.Is(err, enclave.ErrNotFound) {
		return nil // it never booted: there is nothing to read
	}
	if err != nil {
		return fmt.Errorf("open the console log of enclave %s: %w", req.GetId(), err)
	}
	err = copyConsole(r, stream)
	switch {
	case stream.Context().Err() != nil:
		err = stream.Context().Err()
	case ctx.Err() != nil:
		err = shuttingDown()
	}
	return errors.Join(err, r.Close())
}

func copyConsole(r io.Reader, stream grpc.ServerStreamingServer[agentv1.StreamConsoleResponse]) error {
	for {
		chunk := make([]byte, consoleChunk)
		n, err := r.Read(chunk)
		if n > 0 {
			if err := stream.Send(&agentv1.StreamConsoleResponse{Chunk: chunk[:n]}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the console log: %w", err)
		}
	}
}
