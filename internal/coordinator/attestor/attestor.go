// Package attestor is the coordinator's own judgement of an enclave: it asks the
// enclave itself for evidence over a nonce of its own, verifies the raw evidence,
// and delivers secrets over the connection whose key that evidence binds. The
// agent's word plays no part.
package attestor

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/enclave/guestclient"
	"github.com/casemate-dev/casemate/pkg/enclave/secretmsg"
)

// Secrets reads values for delivery.
type Secrets interface {
	// Value returns the plain value of one version of a secret.
	Value(ctx context.Context, org, name string, version int64) ([]byte, error)
}

// Config describes an attestor.
type Config struct {
	Log *slog.Logger
	// Judge judges evidence.
	Judge *judge.Judge
	// AllowDebug accepts debug enclaves of containers that asked for debug.
	AllowDebug bool
	// AllowUnsigned accepts enclaves of releases that nobody has signed.
	AllowUnsigned bool
	Secrets       Secrets
	Signer        crypto.Signer
	Now           func() time.Time
	// Dial makes TCP connections to enclaves; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// CheckManifest is the check that the release's manifest was signed.
const CheckManifest = "release_manifest"

// Attestor judges enclaves. It is safe for concurrent use.
type Attestor struct{ cfg Config }

// New returns an attestor.
func New(cfg Config) (*Attestor, error) {
	if cfg.Log == nil || cfg.Judge == nil || cfg.Secrets == nil || cfg.Signer == nil || cfg.Now == nil {
		return nil, errors.New("attestor: Log, Judge, Secrets, Signer and Now are required")
	}
	return &Attestor{cfg: cfg}, nil
}

// Attest returns the verdict on an enclave at enclave.Endpoint, and a Failure if
// it must not serve; it delivers the secrets of one that may. An error means that the
// enclave could not be asked.
func (a *Attestor) Attest(ctx context.Context, k model.ContainerKey, enclave model.EnclaveRef, revision model.Revision, spec *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	return a.ask(ctx, k, enclave, revision, spec, a.deliver)
}

// Judge does what Attest does and delivers nothing: for an enclave that runs.
func (a *Attestor) Judge(ctx context.Context, k model.ContainerKey, enclave model.EnclaveRef, revision model.Revision, spec *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	return a.ask(ctx, k, enclave, revision, spec, nil)
}

// deliverer does what is to be done on the connection of an enclave that was accepted.
type deliverer func(ctx context.Context, c *guestclient.Client, k model.ContainerKey, nonce, key [32]byte, revision model.Revision) (*engine.Failure, error)

func (a *Attestor) ask(ctx context.Context, k model.ContainerKey, enclave model.EnclaveRef, revision model.Revision, spec *agentv1.EnclaveSpec, then deliverer) (*model.Verdict, *engine.Failure, error) {
	c, err := guestclient.New(guestclient.Config{Endpoint: enclave.Endpoint, ServerName: spec.GetPlatform().GetDomain(), Dial: a.cfg.Dial})
	if err != nil {
		return nil, &engine.Failure{Reason: "BAD_ENDPOINT", Text: err.Error()}, nil
	}
	defer c.Close()
	var nonce [32]byte
	_, _ = rand.Read(nonce[:]) // never fails, since Go 1.24
	raw, key, err := c.Attestation(ctx, nonce)
	if err != nil {
		return nil, nil, err
	}
	verdict := a.judge(ctx, raw, nonce, key, revision, spec)
	a.checkRelease(verdict, revision)
	kept := keep(verdict)
	if err := verdict.Err(); err != nil {
		a.cfg.Log.Warn("evidence refused", "container", k.String(), "enclave", enclave.ID, "error", err)
		return kept, &engine.Failure{Reason: "ATTESTATION_REFUSED", Text: err.Error()}, nil
	}
	if then == nil {
		return kept, nil, nil
	}
	failure, err := then(ctx, c, k, nonce, key, revision)
	return kept, failure, err
}

// judge verifies a raw document against everything this revision must be.
func (a *Attestor) judge(ctx context.Context, raw []byte, nonce, key [32]byte, revision model.Revision, spec *agentv1.EnclaveSpec) *attest.Verdict {
	expect, err := judge.ForSpec(spec)
	if err != nil {
		v := attest.NewVerdict("", a.cfg.Now())
		v.Fail(judge.CheckMeasurement, "%v", err)
		return v
	}
	expect.Nonce, expect.TLSKeyDigest = nonce, key
	expect.ConfigDigest = sha256.Sum256(revision.Config)
	expect.AllowDebug = a.cfg.AllowDebug && revision.Debug
	return a.cfg.Judge.Verify(ctx, raw, expect)
}

// checkRelease wants a signed manifest, or marks the verdict: measurements that
// nobody signed prove that an enclave is what the coordinator expects, and not
// that anybody meant it.
func (a *Attestor) checkRelease(v *attest.Verdict, revision model.Revision) {
	switch m := revision.Manifest; {
	case m != nil:
		v.Pass(CheckManifest, "release %d of %s, signed by %s", m.Number, revision.Repository, m.SignedBy)
	case a.cfg.AllowUnsigned:
		v.Pass(CheckManifest, "the release is unsigned, which the policy names")
		v.Insecure = append(v.Insecure, releases.Unsigned)
	default:
		v.Fail(CheckManifest, "the release has no signed manifest, and the policy does not name unsigned ones")
	}
}

// deliver sends the revision's secrets to the enclave whose key was verified.
// That the enclave has taken some already is success: it takes none but those
// that this coordinator's key has signed.
func (a *Attestor) deliver(ctx context.Context, c *guestclient.Client, k model.ContainerKey, nonce, key [32]byte, revision model.Revision) (*engine.Failure, error) {
	if len(revision.Secrets) == 0 {
		return nil, nil
	}
	values := map[string][]byte{}
	for name, version := range revision.Secrets {
		value, err := a.cfg.Secrets.Value(ctx, k.Org, name, version)
		if err != nil {
			return &engine.Failure{Reason: "SECRET_UNREADABLE", Text: err.Error()}, nil
		}
		values[name] = value
	}
	message, err := secretmsg.Sign(secretmsg.Message{Nonce: nonce, TLSKeyDigest: key, Secrets: values}, a.cfg.Signer)
	if err != nil {
		return &engine.Failure{Reason: "SECRET_UNDELIVERABLE", Text: err.Error()}, nil
	}
	err = c.DeliverSecrets(ctx, key, message)
	var refusal *guestapi.Refusal
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &refusal) && refusal.Code == guestapi.CodeSecretsTaken:
		return nil, nil
	case errors.As(err, &refusal) && refusal.Code != guestapi.CodeNotReady && refusal.Status < 500:
		return &engine.Failure{Reason: "SECRETS_REFUSED", Text: err.Error()}, nil
	}
	return nil, fmt.Errorf("deliver secrets: %w", err)
}

// keep turns a verdict into the record of it.
func keep(v *attest.Verdict) *model.Verdict {
	out := &model.Verdict{Accepted: v.Accepted, Format: string(v.Format), Insecure: v.Insecure, NotPinned: v.NotPinned, At: v.At}
	for _, c := range v.Checks {
		out.Checks = append(out.Checks, model.Check{Name: c.Name, OK: c.OK, Detail: c.Detail})
	}
	return out
}
