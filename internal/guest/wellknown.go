package guest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/enclave/secretmsg"
)

// ownDeadline bounds reading a request to the guest itself.
const ownDeadline = 15 * time.Second

// own serves the guest's own paths.
func (g *Guest) own() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+guestapi.BootPath, g.serveBoot)
	mux.HandleFunc("GET "+guestapi.AttestationPath, g.serveAttestation)
	mux.HandleFunc("POST "+guestapi.SecretsPath, g.serveSecrets)
	mux.HandleFunc(guestapi.Prefix, func(w http.ResponseWriter, _ *http.Request) {
		g.refuse(w, refuse(http.StatusNotFound, guestapi.CodeNotFound, "the guest serves GET boot, GET attestation and POST secrets here"))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := errors.Join(
			rc.SetReadDeadline(time.Now().Add(ownDeadline)),
			rc.SetWriteDeadline(time.Now().Add(guestapi.MaxWait+2*ownDeadline)),
		); err != nil {
			g.cfg.Log.Warn("no deadline on a connection", "error", err)
		}
		// The next request on this connection may be a proxied stream.
		defer func() { _ = errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})) }()
		mux.ServeHTTP(w, r)
	})
}

func (g *Guest) serveBoot(w http.ResponseWriter, r *http.Request) {
	after, wait, err := pollParams(r)
	if err != nil {
		g.refuse(w, refuse(http.StatusBadRequest, guestapi.CodeInvalid, err.Error()))
		return
	}
	status, _ := g.board.snapshot()
	if wait > 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the peer may rest as long as it waits
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		status = g.board.wait(ctx, after)
	}
	body, err := json.Marshal(status)
	if err != nil {
		g.refuse(w, refuse(http.StatusInternalServerError, guestapi.CodeInvalid, "the boot status can't be written"))
		return
	}
	g.answer(w, body)
}

func pollParams(r *http.Request) (after uint64, wait time.Duration, err error) {
	query := r.URL.Query()
	if s := query.Get(guestapi.AfterParam); s != "" {
		if after, err = strconv.ParseUint(s, 10, 62); err != nil {
			return 0, 0, errors.New("after must be a version, such as ?after=3")
		}
	}
	if s := query.Get(guestapi.WaitParam); s != "" {
		seconds, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return 0, 0, errors.New("wait must be whole seconds, such as ?wait=10")
		}
		wait = min(time.Duration(seconds)*time.Second, guestapi.MaxWait)
	}
	return after, wait, nil
}

func (g *Guest) serveSecrets(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, secretmsg.MaxBytes))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		g.refuse(w, refuse(http.StatusRequestEntityTooLarge, guestapi.CodeTooLarge, "the message is larger than 1 MiB"))
		return
	}
	if err != nil {
		g.refuse(w, refuse(http.StatusBadRequest, guestapi.CodeInvalid, "the message could not be read"))
		return
	}
	if refusal := g.vault.deliver(raw); refusal != nil {
		g.cfg.Log.Warn("secrets refused", "code", refusal.Code, "reason", refusal.Text)
		g.refuse(w, refusal)
		return
	}
	g.cfg.Log.Info("secrets taken")
	g.answer(w, []byte("{}"))
}

func (g *Guest) answer(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the peer is gone: nothing to tell it
}

func (g *Guest) refuse(w http.ResponseWriter, r *guestapi.Refusal) {
	r.Text = guestapi.Clip(r.Text)
	body, err := json.Marshal(r)
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(r.Status)
	_, _ = w.Write(body)
}
