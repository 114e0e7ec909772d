package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
)

type hostService struct {
	cv1.UnimplementedHostServiceServer
	*Server
}

// noOrg is where request ids of calls that belong to no org are kept.
const noOrg = "-"

// AddHost adds a host by its agent's address.
func (s *hostService) AddHost(ctx context.Context, m *cv1.AddHostRequest) (*cv1.AddHostResponse, error) {
	h := model.Host{Name: m.GetName(), Address: m.GetAddress(), Created: s.cfg.Now().UTC()}
	if err := checkAddress(m.GetAddress()); err != nil {
		return nil, err
	}
	r := newRequest(noOrg, "AddHost", m)
	err := s.putHost(ctx, r, h, 0, m.GetValidateOnly())
	var conflict *store.ConflictError
	if errors.As(err, &conflict) && conflict.Key == records.HostKey(h.Name) {
		return nil, rpc.Error(codes.AlreadyExists, "HOST_EXISTS", fmt.Sprintf("host %s exists: remove it first to give it another address", h.Name))
	}
	if err != nil {
		return nil, err
	}
	if m.GetValidateOnly() {
		return &cv1.AddHostResponse{Host: &cv1.Host{Name: h.Name, Address: h.Address, Status: cv1.HostStatus_HOST_STATUS_JOINING}}, nil
	}
	out, err := s.host(ctx, h.Name)
	return &cv1.AddHostResponse{Host: out}, err
}

// checkAddress accepts host:port and unix:///path.
func checkAddress(address string) error {
	if strings.HasPrefix(address, "unix:///") {
		return nil
	}
	i := strings.LastIndexByte(address, ':')
	if i > 0 && !strings.Contains(address, "/") {
		if port, err := strconv.ParseUint(address[i+1:], 10, 16); err == nil && port > 0 {
			return nil
		}
	}
	return rpc.FieldError("address", "BAD_ADDRESS", "an agent's address is host:port or unix:///path")
}

// putHost commits a host's record and follows the host.
func (s *hostService) putHost(ctx context.Context, r request, h model.Host, was int64, validateOnly bool) error {
	if err := r.check(ctx, s.cfg.Records); err != nil {
		if _, again := repeated(err); again {
			return s.followRecorded(ctx, h.Name)
		}
		return err
	}
	op, err := records.Put(records.Hosts, records.HostKey(h.Name), h)
	if err != nil {
		return err
	}
	extra := records.Extra{Compares: []store.Compare{store.ModRevision(records.HostKey(h.Name), was)}, Ops: []store.Op{op}}
	if validateOnly {
		_, err := s.cfg.Records.Commit(ctx, extra.Compares, nil)
		return err
	}
	if err := r.record(&extra, s.Server, "", ""); err != nil {
		return err
	}
	if _, err := s.cfg.Records.Commit(ctx, extra.Compares, extra.Ops); err != nil {
		return s.afterFailure(ctx, h.Name, err)
	}
	return s.cfg.Fleet.Add(h)
}

// afterFailure follows a commit that failed, and that a disk which breaks, or a
// caller who stops waiting, may have left applied: what the fleet does is what is
// on record.
func (s *hostService) afterFailure(ctx context.Context, name string, err error) error {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrFull) || errors.Is(err, records.ErrFenced) {
		return err
	}
	return errors.Join(err, s.followRecorded(context.WithoutCancel(ctx), name))
}

// followRecorded makes the fleet follow a host as it is on record, or forget one
// that is not.
func (s *hostService) followRecorded(ctx context.Context, name string) error {
	item, err := records.Get(ctx, s.cfg.Records, records.Hosts, records.HostKey(name))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return s.lost(ctx, name)
	case err != nil:
		return err
	}
	return s.cfg.Fleet.Add(item.Value)
}

// lost stops following a host and tells the containers.
func (s *hostService) lost(ctx context.Context, name string) error {
	if err := s.cfg.Fleet.Remove(name); err != nil {
		return err
	}
	return s.cfg.Runner.Lost(ctx, name)
}

func (s *hostService) record(ctx context.Context, name string) (records.Item[model.Host], error) {
	item, err := records.Get(ctx, s.cfg.Records, records.Hosts, records.HostKey(name))
	if errors.Is(err, store.ErrNotFound) {
		err = rpc.Error(codes.NotFound, "NO_SUCH_HOST", fmt.Sprintf("there is no host %q: see `casemate host list`", name))
	}
	return item, err
}

func (s *hostService) host(ctx context.Context, name string) (*cv1.Host, error) {
	item, err := s.record(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.hostMessage(item), nil
}

func (s *hostService) hostMessage(item records.Item[model.Host]) *cv1.Host {
	h := item.Value
	m := &cv1.Host{
		Name: h.Name, Address: h.Address, Cordoned: h.Cordoned, CreateTime: stamp(h.Created), Etag: etag(item.Revision),
		Status: cv1.HostStatus_HOST_STATUS_JOINING,
	}
	v, err := s.cfg.Fleet.View(h.Name)
	if err != nil {
		return m
	}
	m.Status = cv1.HostStatus(cv1.HostStatus_value["HOST_STATUS_"+string(v.Status)])
	m.Text, m.Facts, m.Enclaves, m.SeenTime = v.Text, v.Facts, v.Enclaves, stamp(v.Seen)
	m.Free, m.Total, m.GpuOffers = roomMessage(v.Plan.Free), roomMessage(v.Total), counts(v.Plan.Offers)
	return m
}

// GetHost returns one host.
func (s *hostService) GetHost(ctx context.Context, m *cv1.GetHostRequest) (*cv1.GetHostResponse, error) {
	h, err := s.host(ctx, m.GetName())
	return &cv1.GetHostResponse{Host: h}, err
}

// ListHosts returns a page of hosts.
func (s *hostService) ListHosts(ctx context.Context, m *cv1.ListHostsRequest) (*cv1.ListHostsResponse, error) {
	items, next, err := page(ctx, s.Server, records.Hosts, records.HostPrefix, m)
	if err != nil {
		return nil, err
	}
	out := &cv1.ListHostsResponse{NextPageToken: next}
	for _, item := range items {
		out.Hosts = append(out.Hosts, s.hostMessage(item))
	}
	return out, nil
}

// CordonHost stops new enclaves from being placed on a host.
func (s *hostService) CordonHost(ctx context.Context, m *cv1.CordonHostRequest) (*cv1.CordonHostResponse, error) {
	h, err := s.cordon(ctx, newRequest(noOrg, "CordonHost", m), m.GetName(), m.GetEtag(), m.GetValidateOnly(), true)
	return &cv1.CordonHostResponse{Host: h}, err
}

// UncordonHost lets enclaves be placed on a host again.
func (s *hostService) UncordonHost(ctx context.Context, m *cv1.UncordonHostRequest) (*cv1.UncordonHostResponse, error) {
	h, err := s.cordon(ctx, newRequest(noOrg, "UncordonHost", m), m.GetName(), m.GetEtag(), m.GetValidateOnly(), false)
	return &cv1.UncordonHostResponse{Host: h}, err
}

func (s *hostService) cordon(ctx context.Context, r request, name, wantEtag string, validateOnly, cordoned bool) (*cv1.Host, error) {
	item, err := s.record(ctx, name)
	if err != nil {
		return nil, err
	}
	if wantEtag != "" && wantEtag != etag(item.Revision) {
		return nil, etagMismatch("host")
	}
	if item.Value.Cordoned == cordoned {
		if err := s.cfg.Fleet.Add(item.Value); err != nil {
			return nil, err
		}
	} else {
		item.Value.Cordoned = cordoned
		if err := s.putHost(ctx, r, item.Value, item.Revision, validateOnly); err != nil {
			return nil, err
		}
	}
	return s.host(ctx, name)
}

// RemoveHost forgets a host on which nothing runs.
func (s *hostService) RemoveHost(ctx context.Context, m *cv1.RemoveHostRequest) (*cv1.RemoveHostResponse, error) {
	r := newRequest(noOrg, "RemoveHost", m)
	if err := r.check(ctx, s.cfg.Records); err != nil {
		if _, again := repeated(err); again {
			return &cv1.RemoveHostResponse{}, s.followRecorded(ctx, m.GetName())
		}
		return nil, err
	}
	err := s.cfg.Runner.Planning(func() error { return s.remove(ctx, r, m) })
	if err != nil {
		return nil, err
	}
	return &cv1.RemoveHostResponse{}, nil
}

func (s *hostService) remove(ctx context.Context, r request, m *cv1.RemoveHostRequest) error {
	item, err := s.record(ctx, m.GetName())
	if err != nil {
		return err
	}
	if m.GetEtag() != "" && m.GetEtag() != etag(item.Revision) {
		return etagMismatch("host")
	}
	if used := s.cfg.Fleet.InUse(m.GetName()); len(used) > 0 && !m.GetForce() {
		return rpc.Precondition("HOST_IN_USE", m.GetName(), fmt.Sprintf("enclaves run or are promised on host %s: %s; move them with `casemate host drain %s`, or, if the host is lost for good, forget it with --force", m.GetName(), strings.Join(used, ", "), m.GetName()))
	}
	if m.GetValidateOnly() {
		return nil
	}
	extra := records.Extra{Compares: []store.Compare{store.ModRevision(item.Key, item.Revision)}, Ops: []store.Op{store.Delete(item.Key), store.Delete(records.MachineKey(m.GetName()))}}
	if err := r.record(&extra, s.Server, "", ""); err != nil {
		return err
	}
	if _, err := s.cfg.Records.Commit(ctx, extra.Compares, extra.Ops); err != nil {
		return s.afterFailure(ctx, m.GetName(), err)
	}
	return s.lost(ctx, m.GetName())
}

// WatchHosts sends hosts and their changes. What agents say is kept in memory
// only, so a token is good for this coordinator's lifetime.
func (s *hostService) WatchHosts(m *cv1.WatchHostsRequest, stream grpc.ServerStreamingServer[cv1.WatchHostsResponse]) error {
	ctx, cancel := s.watchContext(stream.Context())
	defer cancel()
	w := hostWatch{s: s, sent: map[string]bool{}, stream: stream}
	if m.GetResumeToken() != "" {
		var err error
		if w.since, err = s.parseToken(s.hostScope(), m.GetResumeToken()); err != nil {
			return rpc.Error(codes.OutOfRange, "RESUME_TOKEN_EXPIRED", "the token is of an earlier coordinator: watch again without it")
		}
		w.synced = true
	}
	for {
		version, changed := s.cfg.Fleet.Changed()
		if err := w.pass(ctx, version); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *hostService) hostScope() string {
	return records.HostPrefix + strconv.FormatInt(s.cfg.Records.Epoch, 10)
}

// hostWatch is one reader of hosts.
type hostWatch struct {
	s      *hostService
	stream grpc.ServerStreamingServer[cv1.WatchHostsResponse]
	since  int64
	synced bool
	sent   map[string]bool
}

// pass sends every host that changed after the last pass.
func (w *hostWatch) pass(ctx context.Context, version int64) error {
	items, _, err := records.List(ctx, w.s.cfg.Records, records.Hosts, records.HostPrefix, store.ListOptions{})
	if err != nil {
		return err
	}
	present := map[string]bool{}
	for _, item := range items {
		name := item.Value.Name
		present[name] = true
		v, err := w.s.cfg.Fleet.View(name)
		if errors.Is(err, fleet.ErrUnknownHost) || w.synced && v.Version <= w.since {
			w.sent[name] = true
			continue
		}
		if err := w.send(&cv1.WatchHostsResponse{Event: &cv1.WatchHostsResponse_Changed{Changed: w.s.hostMessage(item)}}, 0); err != nil {
			return err
		}
		w.sent[name] = true
	}
	for name := range w.sent {
		if !present[name] {
			delete(w.sent, name)
			if err := w.send(&cv1.WatchHostsResponse{Event: &cv1.WatchHostsResponse_Deleted{Deleted: &cv1.Deleted{Name: name}}}, 0); err != nil {
				return err
			}
		}
	}
	w.since = version
	if !w.synced {
		w.synced = true
		return w.send(&cv1.WatchHostsResponse{Event: &cv1.WatchHostsResponse_Synced{Synced: &cv1.Synced{}}}, version)
	}
	return w.send(&cv1.WatchHostsResponse{Event: &cv1.WatchHostsResponse_Bookmark{Bookmark: &cv1.Bookmark{}}}, version)
}

func (w *hostWatch) send(m *cv1.WatchHostsResponse, version int64) error {
	if version > 0 {
		m.ResumeToken = w.s.token(w.s.hostScope(), version)
	}
	return wrapSend(w.stream.Send(m))
}
