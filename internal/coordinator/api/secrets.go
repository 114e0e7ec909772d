package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
)

type secretService struct {
	cv1.UnimplementedSecretServiceServer
	*Server
}

// keptVersions is how many versions of a secret are kept: a rollback delivers
// current values, so only enclaves that are booting now may need an older one.
const keptVersions = 20

// CreateSecret keeps a new secret.
func (s *secretService) CreateSecret(ctx context.Context, m *cv1.CreateSecretRequest) (*cv1.CreateSecretResponse, error) {
	r := newRequest(m.GetOrg(), "CreateSecret", m)
	now := s.cfg.Now().UTC()
	secret := model.Secret{Org: m.GetOrg(), Name: m.GetName(), Version: 1, Created: now, Updated: now}
	out, err := s.put(ctx, r, secret, 0, m.GetValue(), m.GetValidateOnly(), nil)
	var conflict *store.ConflictError
	if errors.As(err, &conflict) && conflict.Key == records.SecretKey(m.GetOrg(), m.GetName()) {
		return nil, rpc.Error(codes.AlreadyExists, "SECRET_EXISTS", fmt.Sprintf("secret %s exists: give it a new value with `casemate secret set %s`", m.GetName(), m.GetName()))
	}
	return &cv1.CreateSecretResponse{Secret: out}, err
}

// SetSecret gives a secret a new value.
func (s *secretService) SetSecret(ctx context.Context, m *cv1.SetSecretRequest) (*cv1.SetSecretResponse, error) {
	r := newRequest(m.GetOrg(), "SetSecret", m)
	item, err := s.secret(ctx, m.GetOrg(), m.GetName())
	if err != nil {
		return nil, err
	}
	if m.GetEtag() != "" && m.GetEtag() != etag(item.Revision) {
		if err := r.check(ctx, s.cfg.Records); err == nil {
			return nil, etagMismatch("secret")
		}
	}
	next := item.Value
	next.Version++
	next.Updated = s.cfg.Now().UTC()
	users, err := s.users(ctx, m.GetOrg(), m.GetName())
	if err != nil {
		return nil, err
	}
	out, err := s.put(ctx, r, next, item.Revision, m.GetValue(), m.GetValidateOnly(), users)
	return &cv1.SetSecretResponse{Secret: out}, err
}

// put commits a secret's record with one sealed version. The containers that use
// it are written again in the same commit, so that whoever watches them learns
// that they are stale.
func (s *secretService) put(ctx context.Context, r request, secret model.Secret, was int64, value []byte, validateOnly bool, users []records.Item[model.Container]) (*cv1.Secret, error) {
	if err := r.check(ctx, s.cfg.Records); err != nil {
		if _, again := repeated(err); again {
			return s.get(ctx, secret.Org, secret.Name)
		}
		return nil, err
	}
	key := records.SecretKey(secret.Org, secret.Name)
	compares := []store.Compare{store.ModRevision(key, was)}
	if validateOnly {
		_, err := s.cfg.Records.Commit(ctx, compares, nil)
		return &cv1.Secret{Org: secret.Org, Name: secret.Name, Version: secret.Version}, err
	}
	ops, err := s.secretOps(secret, value)
	if err != nil {
		return nil, err
	}
	extra := records.Extra{Compares: compares, Ops: ops}
	if err := touch(&extra, users, secret.Updated); err != nil {
		return nil, err
	}
	if err := r.record(&extra, s.Server, "", ""); err != nil {
		return nil, err
	}
	if _, err := s.cfg.Records.Commit(ctx, extra.Compares, extra.Ops); err != nil {
		return nil, err
	}
	return s.get(ctx, secret.Org, secret.Name)
}

// touch adds containers to a commit, as many as fit. The rest is stale all the same,
// and only learns of it when it is read.
func touch(extra *records.Extra, users []records.Item[model.Container], at time.Time) error {
	bytes := 0
	for _, item := range users {
		item.Value.Updated = at
		op, err := records.Put(records.Containers, item.Key, item.Value)
		if err != nil {
			return err
		}
		if bytes += len(op.Value); bytes > maxTouchedBytes {
			return nil
		}
		extra.Compares = append(extra.Compares, store.ModRevision(item.Key, item.Revision))
		extra.Ops = append(extra.Ops, op)
	}
	return nil
}

func (s *secretService) secretOps(secret model.Secret, value []byte) ([]store.Op, error) {
	record, err := records.Put(records.Secrets, records.SecretKey(secret.Org, secret.Name), secret)
	if err != nil {
		return nil, err
	}
	sealed, err := records.Put(records.SecretValues, records.SecretValueKey(secret.Org, secret.Name, secret.Version), model.SecretValue{
		Version: secret.Version, Created: secret.Updated,
		Sealed: s.cfg.Vault.Seal(secret.Org, secret.Name, secret.Version, value),
	})
	if err != nil {
		return nil, err
	}
	ops := []store.Op{record, sealed}
	if secret.Version > keptVersions {
		ops = append(ops, store.Delete(records.SecretValueKey(secret.Org, secret.Name, secret.Version-keptVersions)))
	}
	return ops, nil
}

// GetSecret returns a secret without its value.
func (s *secretService) GetSecret(ctx context.Context, m *cv1.GetSecretRequest) (*cv1.GetSecretResponse, error) {
	out, err := s.get(ctx, m.GetOrg(), m.GetName())
	return &cv1.GetSecretResponse{Secret: out}, err
}

func (s *Server) secret(ctx context.Context, org, name string) (records.Item[model.Secret], error) {
	item, err := records.Get(ctx, s.cfg.Records, records.Secrets, records.SecretKey(org, name))
	if errors.Is(err, store.ErrNotFound) {
		err = rpc.Error(codes.NotFound, "NO_SUCH_SECRET", fmt.Sprintf("there is no secret %s in org %s: create it with `casemate secret create %s`", name, org, name))
	}
	return item, err
}

func (s *secretService) get(ctx context.Context, org, name string) (*cv1.Secret, error) {
	item, err := s.secret(ctx, org, name)
	if err != nil {
		return nil, err
	}
	use, err := s.use(ctx, org)
	if err != nil {
		return nil, err
	}
	return secretMessage(item, use), nil
}

func secretMessage(item records.Item[model.Secret], use map[string]*secretUse) *cv1.Secret {
	m := &cv1.Secret{
		Org: item.Value.Org, Name: item.Value.Name, Version: item.Value.Version,
		CreateTime: stamp(item.Value.Created), UpdateTime: stamp(item.Value.Updated), Etag: etag(item.Revision),
	}
	if u := use[item.Value.Name]; u != nil {
		m.BoundTo = slices.Sorted(maps.Keys(u.bound))
		for name, version := range u.running {
			if version < item.Value.Version {
				m.StaleIn = append(m.StaleIn, name)
			}
		}
		slices.Sort(m.StaleIn)
	}
	return m
}

// ListSecrets returns a page of secrets.
func (s *secretService) ListSecrets(ctx context.Context, m *cv1.ListSecretsRequest) (*cv1.ListSecretsResponse, error) {
	items, next, err := page(ctx, s.Server, records.Secrets, records.SecretPrefix+m.GetOrg()+"/", m)
	if err != nil {
		return nil, err
	}
	use, err := s.use(ctx, m.GetOrg())
	if err != nil {
		return nil, err
	}
	out := &cv1.ListSecretsResponse{NextPageToken: next}
	for _, item := range items {
		out.Secrets = append(out.Secrets, secretMessage(item, use))
	}
	return out, nil
}

// DeleteSecret removes a secret and its versions, unless a container is given it.
func (s *secretService) DeleteSecret(ctx context.Context, m *cv1.DeleteSecretRequest) (*cv1.DeleteSecretResponse, error) {
	r := newRequest(m.GetOrg(), "DeleteSecret", m)
	if err := r.check(ctx, s.cfg.Records); err != nil {
		if _, again := repeated(err); again {
			return &cv1.DeleteSecretResponse{}, nil
		}
		return nil, err
	}
	// No update may begin to use it between the look and the deletion.
	err := s.cfg.Runner.Planning(func() error { return s.remove(ctx, r, m) })
	if err != nil {
		return nil, err
	}
	return &cv1.DeleteSecretResponse{}, nil
}

func (s *secretService) remove(ctx context.Context, r request, m *cv1.DeleteSecretRequest) error {
	item, err := s.secret(ctx, m.GetOrg(), m.GetName())
	if err != nil {
		return err
	}
	if m.GetEtag() != "" && m.GetEtag() != etag(item.Revision) {
		return etagMismatch("secret")
	}
	use, err := s.use(ctx, m.GetOrg())
	if err != nil {
		return err
	}
	if u := use[m.GetName()]; u != nil {
		names := slices.Sorted(maps.Keys(u.bound))
		return rpc.Precondition("SECRET_BOUND", m.GetName(), fmt.Sprintf("secret %s is given to %s: redeploy without it, or delete the container, first", m.GetName(), strings.Join(names, ", ")))
	}
	if m.GetValidateOnly() {
		return nil
	}
	extra := records.Extra{
		Compares: []store.Compare{store.ModRevision(item.Key, item.Revision)},
		Ops:      []store.Op{store.Delete(item.Key)},
	}
	values, err := s.cfg.Records.Store().List(ctx, records.SecretValuesOf(m.GetOrg(), m.GetName()), store.ListOptions{Limit: 2 * keptVersions})
	if err != nil {
		return err
	}
	for _, kv := range values.KVs {
		extra.Ops = append(extra.Ops, store.Delete(kv.Key))
	}
	if err := r.record(&extra, s.Server, "", ""); err != nil {
		return err
	}
	_, err = s.cfg.Records.Commit(ctx, extra.Compares, extra.Ops)
	return err
}
