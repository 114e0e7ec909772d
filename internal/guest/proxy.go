package guest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/release"
)

// shim is the front door once it is open.
type shim struct {
	// name is the upstream container's.
	name      string
	rules     release.Shim
	limiter   *limiter
	transport *http.Transport
	proxy     *httputil.ReverseProxy
}

// openShim opens the front door, once.
func (g *Guest) openShim(state *bootState) {
	if g.upstream.Load() != nil {
		return
	}
	rules := state.config.Shim
	for _, s := range state.started {
		if s.container.Name == rules.UpstreamContainer {
			g.upstream.Store(g.newShim(rules, s.workload))
		}
	}
}

func (g *Guest) newShim(rules release.Shim, upstream Workload) *shim {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return upstream.Dial(ctx, rules.UpstreamPort)
		},
		MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
	return &shim{
		name: rules.UpstreamContainer, rules: rules, transport: transport,
		limiter: newLimiter(rules.RateLimit, rules.RateBurst, g.cfg.Clock),
		proxy: &httputil.ReverseProxy{
			Transport: transport, FlushInterval: -1, BufferPool: &buffers{},
			ErrorLog: slog.NewLogLogger(g.cfg.Log.Handler(), slog.LevelDebug),
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = "http", "upstream"
				r.Out.Host = r.In.Host
				r.SetXForwarded()
			},
			ModifyResponse: func(resp *http.Response) error { return allowOrigin(rules, resp) },
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if r.Context().Err() == nil {
					g.cfg.Log.Warn("upstream failed", "container", rules.UpstreamContainer, "error", err)
				}
				g.refuse(w, refuse(http.StatusBadGateway, guestapi.CodeUpstream,
					"container "+rules.UpstreamContainer+" did not answer"))
			},
		},
	}
}

// serveUpstream applies the config's rules and proxies.
func (g *Guest) serveUpstream(w http.ResponseWriter, r *http.Request) {
	s := g.upstream.Load()
	if s == nil {
		g.refuseEarly(w)
		return
	}
	if refusal := s.check(r); refusal != nil {
		g.refuse(w, refusal)
		return
	}
	if preflight(s.rules, w, r) {
		return
	}
	s.proxy.ServeHTTP(w, r)
}

// refuseEarly answers before the containers are healthy, with the stage.
func (g *Guest) refuseEarly(w http.ResponseWriter) {
	status, _ := g.board.snapshot()
	refusal := refuse(http.StatusServiceUnavailable, guestapi.CodeNotReady, "the enclave is booting")
	if status.Stopping {
		refusal = refuse(http.StatusServiceUnavailable, guestapi.CodeStopping, "the enclave is powering off")
	}
	refusal.Stage = status.Current().Name
	w.Header().Set("Retry-After", "1")
	g.refuse(w, refusal)
}

// check applies paths, origins, keys and rate, in this order.
func (s *shim) check(r *http.Request) *guestapi.Refusal {
	ruled := len(s.rules.Paths) > 0 || s.rules.Authenticated
	switch {
	case ruled && !clean(r.URL.Path):
		return refuse(http.StatusBadRequest, guestapi.CodeInvalid, "the path has empty or dot segments")
	case !s.rules.Serves(r.URL.Path):
		return refuse(http.StatusNotFound, guestapi.CodeNotFound, "the config does not serve this path")
	case !originAllowed(s.rules, r.Header.Get("Origin")):
		return refuse(http.StatusForbidden, guestapi.CodeOrigin, "the config does not list this browser origin")
	case s.rules.NeedsKey(r.URL.Path):
		// The config asks for keys, and nothing that was measured or verified says
		// which keys are good: nobody gets in.
		return refuse(http.StatusUnauthorized, guestapi.CodeUnauthenticated, "the config asks for API keys, and this enclave has none to compare with")
	case !s.limiter.allow(r.RemoteAddr):
		return refuse(http.StatusTooManyRequests, guestapi.CodeRateLimited, "more requests than the config's rate-limit allows: slow down")
	}
	return nil
}

// clean says whether a path is as path.Clean would leave it, but for a slash at
// its end.
func clean(p string) bool {
	return p == "/" || strings.HasPrefix(p, "/") && path.Clean(p) == strings.TrimSuffix(p, "/")
}

func originAllowed(rules release.Shim, origin string) bool {
	if origin == "" || len(rules.Origins) == 0 {
		return true
	}
	for _, o := range rules.Origins {
		if o == "*" || o == origin {
			return true
		}
	}
	return false
}

// allowOrigin tells a browser that its listed origin may read the answer. A
// config without origins leaves this to the upstream.
func allowOrigin(rules release.Shim, resp *http.Response) error {
	if resp.Request == nil {
		return errors.New("an answer without its request")
	}
	setCORS(rules, resp.Header, resp.Request.Header.Get("Origin"))
	return nil
}

func setCORS(rules release.Shim, h http.Header, origin string) {
	if origin == "" || len(rules.Origins) == 0 {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
}

// preflight answers a browser's question whether it may call.
func preflight(rules release.Shim, w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions || len(rules.Origins) == 0 || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	setCORS(rules, w.Header(), r.Header.Get("Origin"))
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	if h := r.Header.Get("Access-Control-Request-Headers"); h != "" {
		w.Header().Set("Access-Control-Allow-Headers", h)
	}
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// bufferSize is that of one copy of a proxied body.
const bufferSize = 32 << 10

// buffers lends the buffers of the proxy.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }
