package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

// tokenMark begins every resume token.
const tokenMark = "w1"

// token says where a watch of this prefix goes on: it names the cluster, for a
// revision of another store means nothing here.
func (s *Server) token(prefix string, revision int64) string {
	text := strings.Join([]string{tokenMark, s.cfg.Records.ClusterID, strconv.FormatInt(revision, 10), prefix}, "\x00")
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

func (s *Server) parseToken(prefix, token string) (int64, error) {
	bad := rpc.FieldError("resume_token", "BAD_RESUME_TOKEN", "the token is not one of this watch: watch again without it")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return 0, bad
	}
	parts := strings.SplitN(string(raw), "\x00", 4)
	if len(parts) != 4 || parts[0] != tokenMark || parts[1] != s.cfg.Records.ClusterID || parts[3] != prefix {
		return 0, bad
	}
	revision, err := strconv.ParseInt(parts[2], 10, 64)
	// Only what token writes is taken: no +7, no 007.
	if err != nil || revision < 0 || s.token(prefix, revision) != token {
		return 0, bad
	}
	return revision, nil
}

// watchContext ends with the call or the coordinator.
func (s *Server) watchContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.stop, cancel)
	s.streams.Add(1)
	return ctx, func() { stop(); cancel(); s.streams.Add(-1) }
}

// sink is where a watch's messages go; each gets the token to resume after it,
// empty while the snapshot is sent.
type sink[T any] struct {
	changed  func(item records.Item[T], token string) error
	deleted  func(key string, revision int64, token string) error
	synced   func(token string) error
	bookmark func(token string) error
}

// watch sends the records under a prefix, then synced, then every change: or,
// with a token, only what changed since.
func watch[T any](ctx context.Context, s *Server, codec record.Codec[T], prefix, token string, to sink[T]) error {
	ctx, cancel := s.watchContext(ctx)
	defer cancel()
	from, err := s.watchFrom(ctx, prefix, token, func(kv store.KV) error {
		item, err := records.Decode(codec, kv)
		if err != nil {
			return err
		}
		return to.changed(item, "")
	}, to.synced)
	if err != nil {
		return err
	}
	w, err := s.cfg.Records.Store().Watch(ctx, prefix, from)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		batch, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if err := forward(s, codec, prefix, batch, to); err != nil {
			return err
		}
	}
}

func (s *Server) watchFrom(ctx context.Context, prefix, token string, each func(store.KV) error, synced func(string) error) (int64, error) {
	if token != "" {
		return s.parseToken(prefix, token)
	}
	all, err := s.cfg.Records.Store().List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return 0, err
	}
	for _, kv := range all.KVs {
		if err := each(kv); err != nil {
			return 0, err
		}
	}
	return all.Revision, synced(s.token(prefix, all.Revision))
}

// forward sends one batch. Only its last message may be resumed after: a batch
// is one transaction.
func forward[T any](s *Server, codec record.Codec[T], prefix string, batch store.Batch, to sink[T]) error {
	token := s.token(prefix, batch.Revision)
	if len(batch.Events) == 0 {
		return to.bookmark(token)
	}
	for i, ev := range batch.Events {
		after := ""
		if i == len(batch.Events)-1 {
			after = token
		}
		if ev.Type == store.EventDelete {
			if err := to.deleted(ev.KV.Key, ev.KV.ModRevision, after); err != nil {
				return err
			}
			continue
		}
		item, err := records.DecodeShared(s.cfg.Records, codec, ev.KV)
		if err != nil {
			return err
		}
		if err := to.changed(item, after); err != nil {
			return err
		}
	}
	return nil
}

// WatchContainers sends containers and their changes.
func (s *containerService) WatchContainers(m *cv1.WatchContainersRequest, stream grpc.ServerStreamingServer[cv1.WatchContainersResponse]) error {
	ctx := stream.Context()
	prefix := records.ContainerPrefix + m.GetOrg() + "/"
	only := ""
	if m.GetName() != "" {
		k, err := s.key(ctx, m.GetOrg(), m.GetName())
		if err != nil {
			return err
		}
		only = records.ContainerKey(k)
	}
	send := func(r *cv1.WatchContainersResponse, token string) error {
		r.ResumeToken = token
		return wrapSend(stream.Send(r))
	}
	bookmark := func(token string) error {
		return send(&cv1.WatchContainersResponse{Event: &cv1.WatchContainersResponse_Bookmark{Bookmark: &cv1.Bookmark{}}}, token)
	}
	return watch(ctx, s.Server, records.Containers, prefix, m.GetResumeToken(), sink[model.Container]{
		changed: func(item records.Item[model.Container], token string) error {
			if only != "" && item.Key != only {
				return skip(token, bookmark)
			}
			c, err := s.fullContainer(ctx, item)
			if err != nil {
				return err
			}
			return send(&cv1.WatchContainersResponse{Event: &cv1.WatchContainersResponse_Changed{Changed: c}}, token)
		},
		deleted: func(key string, _ int64, token string) error {
			if only != "" && key != only {
				return skip(token, bookmark)
			}
			return send(&cv1.WatchContainersResponse{Event: &cv1.WatchContainersResponse_Deleted{
				Deleted: &cv1.Deleted{Org: m.GetOrg(), Name: strings.TrimPrefix(key, prefix)},
			}}, token)
		},
		synced: func(token string) error {
			return send(&cv1.WatchContainersResponse{Event: &cv1.WatchContainersResponse_Synced{Synced: &cv1.Synced{}}}, token)
		},
		bookmark: bookmark,
	})
}

// skip leaves a change out of a narrower watch, but keeps its token.
func skip(token string, bookmark func(string) error) error {
	if token == "" {
		return nil
	}
	return bookmark(token)
}

func wrapSend(err error) error {
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// WatchUpdates sends updates and their changes.
func (s *updateService) WatchUpdates(m *cv1.WatchUpdatesRequest, stream grpc.ServerStreamingServer[cv1.WatchUpdatesResponse]) error {
	ctx := stream.Context()
	prefix := records.UpdatePrefix + m.GetOrg() + "/"
	if m.GetContainer() != "" {
		k, err := s.key(ctx, m.GetOrg(), m.GetContainer())
		if err != nil {
			return err
		}
		prefix = records.UpdatesOf(k)
	}
	send := func(r *cv1.WatchUpdatesResponse, token string) error {
		r.ResumeToken = token
		return wrapSend(stream.Send(r))
	}
	bookmark := func(token string) error {
		return send(&cv1.WatchUpdatesResponse{Event: &cv1.WatchUpdatesResponse_Bookmark{Bookmark: &cv1.Bookmark{}}}, token)
	}
	return watch(ctx, s.Server, records.Updates, prefix, m.GetResumeToken(), sink[model.Update]{
		changed: func(item records.Item[model.Update], token string) error {
			if m.GetId() != "" && item.Value.ID != m.GetId() {
				return skip(token, bookmark)
			}
			u := updateMessage(&item.Value, item.Revision)
			return send(&cv1.WatchUpdatesResponse{Event: &cv1.WatchUpdatesResponse_Changed{Changed: u}}, token)
		},
		deleted: func(key string, _ int64, token string) error {
			id := records.UpdateID(key)
			if m.GetId() != "" && id != m.GetId() {
				return skip(token, bookmark)
			}
			return send(&cv1.WatchUpdatesResponse{Event: &cv1.WatchUpdatesResponse_Deleted{Deleted: &cv1.Deleted{Org: m.GetOrg(), Name: id}}}, token)
		},
		synced: func(token string) error {
			return send(&cv1.WatchUpdatesResponse{Event: &cv1.WatchUpdatesResponse_Synced{Synced: &cv1.Synced{}}}, token)
		},
		bookmark: bookmark,
	})
}
