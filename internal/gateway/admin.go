package gateway

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Listing is what the admin handler shows at /routes.
type Listing struct {
	ClusterID string         `json:"cluster_id"`
	Epoch     int64          `json:"epoch"`
	Routes    []ListedRoute  `json:"routes"`
	Enclaves  []EnclaveCount `json:"enclaves"`
}

// ListedRoute is one route in a Listing.
type ListedRoute struct {
	routeJSON
	// Unconfirmed says that the coordinator has not named the route since the
	// gateway started, or left it out of its last complete listing.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// Listing returns the routes in force and the connections to their enclaves.
func (r *Routes) Listing() Listing {
	t := r.Table()
	l := Listing{ClusterID: t.clusterID, Epoch: t.epoch, Routes: []ListedRoute{}, Enclaves: r.Counts()}
	for _, route := range t.Routes() {
		l.Routes = append(l.Routes, ListedRoute{routeJSON: route.toJSON(), Unconfirmed: t.Unconfirmed(route.Domain)})
	}
	return l
}

// AdminHandler serves /metrics, /healthz (200 while connections are accepted)
// and /routes. It is for operators: it must not be reachable by clients.
func (s *Server) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.accepting.Load() {
			http.Error(w, "not accepting connections", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n")) // the asker is gone if this fails
	})
	mux.HandleFunc("GET /routes", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(s.cfg.Routes.Listing()) // the asker is gone if this fails
	})
	return mux
}
