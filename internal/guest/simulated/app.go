package simulated

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/pkg/release"
)

const (
	healthPath = "/health"
	maxBytes   = 64 << 30
	maxSlow    = 10 * time.Minute
)

// Answer is what a simulated container says to every request.
type Answer struct {
	// Org, Container, Revision, Tag and Enclave say who answers.
	Org       string `json:"org"`
	Container string `json:"container"`
	Revision  int64  `json:"revision"`
	Tag       string `json:"tag"`
	Enclave   string `json:"enclave"`
	// Workload is the OCI container that answers, Containers are all of them.
	Workload   string   `json:"workload"`
	Containers []string `json:"containers"`
	// Variables are the open variables that it was given.
	Variables map[string]string `json:"variables"`
	// Secrets are the first 8 hex digits of the SHA-256 of the secrets that it was
	// given: enough to see a new value, and no value.
	Secrets map[string]string `json:"secrets"`
	// Path and Hostname are those of the request.
	Path     string `json:"path"`
	Hostname string `json:"hostname"`
}

// newApp is what runs in a simulated container. healthy says why it is not.
func newApp(r *runtime, c release.Container, in guest.Input, healthy func() error) http.Handler {
	base := describe(r, c, in)
	mux := http.NewServeMux()
	mux.HandleFunc(healthPath, func(w http.ResponseWriter, _ *http.Request) {
		if err := healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/bytes", serveBytes)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, req *http.Request) {
		wait := min(time.Duration(number(req, "ms"))*time.Millisecond, maxSlow)
		if r.clock.Sleep(req.Context(), wait) == nil {
			base.write(w, req)
		}
	})
	mux.HandleFunc("/", base.write)
	return mux
}

func describe(r *runtime, c release.Container, in guest.Input) *Answer {
	a := &Answer{
		Org: r.spec.GetOrg(), Container: r.spec.GetContainer(), Revision: r.spec.GetRevision(), Tag: r.spec.GetTag(),
		Enclave: r.id, Workload: c.Name, Variables: map[string]string{}, Secrets: map[string]string{},
	}
	if cfg, _, err := release.Parse(r.spec.GetConfigName(), r.spec.GetConfig()); err == nil {
		for _, other := range cfg.Containers {
			a.Containers = append(a.Containers, other.Name)
		}
	}
	for _, v := range c.Env {
		if value, set := in.Env[v.Name]; v.Open && set {
			a.Variables[v.Name] = value
		}
	}
	for name, value := range in.Secrets {
		sum := sha256.Sum256(value)
		a.Secrets[name] = hex.EncodeToString(sum[:4])
	}
	return a
}

func (a Answer) write(w http.ResponseWriter, r *http.Request) {
	a.Path, a.Hostname = r.URL.Path, r.Host
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Casemate-Revision", strconv.FormatInt(a.Revision, 10))
	w.Header().Set("X-Casemate-Tag", a.Tag)
	w.Header().Set("X-Casemate-Enclave", a.Enclave)
	_ = json.NewEncoder(w).Encode(a) //nolint:errchkjson // the peer is gone: nothing to tell it
}

// serveBytes streams n bytes.
func serveBytes(w http.ResponseWriter, r *http.Request) {
	n := min(number(r, "n"), maxBytes)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatUint(n, 10))
	block := make([]byte, 32<<10)
	for n > 0 {
		sent, err := w.Write(block[:min(n, uint64(len(block)))])
		if err != nil {
			return
		}
		n -= uint64(sent)
	}
}

func number(r *http.Request, name string) uint64 {
	n, err := strconv.ParseUint(r.URL.Query().Get(name), 10, 40)
	if err != nil {
		return 0
	}
	return n
}
