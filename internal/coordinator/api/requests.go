package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
)

// request is one call with its request_id. Its record is written in the same
// transaction as its effect, so that an id has one effect whatever is repeated.
type request struct {
	org, id, method, digest string
}

// identified is every request that may carry a request id.
type identified interface {
	proto.Message
	GetRequestId() string
}

func newRequest(org, method string, m identified) request {
	r := request{org: org, id: m.GetRequestId(), method: method}
	if r.id == "" {
		return r
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		data = []byte(err.Error())
	}
	sum := sha256.Sum256(data)
	r.digest = hex.EncodeToString(sum[:])
	return r
}

// repeatedError says that the request has had its effect already.
type repeatedError struct{ done model.Request }

// Error names what the request led to.
func (e *repeatedError) Error() string {
	return fmt.Sprintf("request was carried out before: %s %s", e.done.Container, e.done.Update)
}

// check returns a *repeatedError if the id was used for the same request before,
// and a gRPC error if it was used for another.
func (r request) check(ctx context.Context, rec *records.Records) error {
	if r.id == "" {
		return nil
	}
	item, err := records.Get(ctx, rec, records.Requests, records.RequestKey(r.org, r.id))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if item.Value.Method != r.method || item.Value.Digest != r.digest {
		return rpc.Error(codes.AlreadyExists, "REQUEST_ID_REUSED", "this request_id was used for another request: choose a new one")
	}
	return &repeatedError{item.Value}
}

// record adds what the request leads to to a commit.
func (r request) record(extra *records.Extra, s *Server, container, update string) error {
	if r.id == "" {
		return nil
	}
	key := records.RequestKey(r.org, r.id)
	op, err := records.Put(records.Requests, key, model.Request{
		Method: r.method, Digest: r.digest, Container: container, Update: update, Time: s.cfg.Now().UTC(),
	})
	if err != nil {
		return err
	}
	extra.Compares = append(extra.Compares, store.ModRevision(key, 0))
	extra.Ops = append(extra.Ops, op)
	return nil
}

// repeated returns what the request led to when it was first carried out.
func repeated(err error) (model.Request, bool) {
	var r *repeatedError
	if errors.As(err, &r) {
		return r.done, true
	}
	return model.Request{}, false
}
