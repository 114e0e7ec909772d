package git

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/server"
)

// fakeServer serves one repository by Git's smart HTTP protocol over TLS.
type fakeServer struct {
	*httptest.Server
	loader server.MapLoader
	// password is asked for when it is not empty.
	password string
	// shallow offers single commits, and counts who asked for one.
	shallow bool
	asked   atomic.Int32
	// hang makes requests wait until the client goes away.
	hang bool
}

func newServer(t testing.TB, f *fixture) *fakeServer {
	t.Helper()
	s := &fakeServer{loader: server.MapLoader{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /acme/app/info/refs", s.handle(s.refs))
	mux.HandleFunc("POST /acme/app/git-upload-pack", s.handle(s.pack))
	mux.HandleFunc("GET /acme/moved/info/refs", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://other.example/acme/app/info/refs?service=git-upload-pack", http.StatusFound)
	})
	s.Server = httptest.NewTLSServer(mux)
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	s.loader["file://repo"] = f.repo.Storer
	return s
}

func (s *fakeServer) handle(do func(http.ResponseWriter, *http.Request, transport.UploadPackSession) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.hang {
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // nor does it answer while the client closes
		}
		if _, password, _ := r.BasicAuth(); s.password != password {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		session, err := server.NewServer(s.loader).NewUploadPackSession(&transport.Endpoint{Protocol: "file", Path: "repo"}, nil)
		if err == nil {
			err = do(w, r, session)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}

func (s *fakeServer) refs(w http.ResponseWriter, r *http.Request, session transport.UploadPackSession) error {
	refs, err := session.AdvertisedReferencesContext(r.Context())
	if err != nil {
		return err
	}
	if s.shallow {
		if err := refs.Capabilities.Set(capability.Shallow); err != nil {
			return err
		}
	}
	refs.Prefix = [][]byte{[]byte("# service=git-upload-pack"), {}}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	return refs.Encode(w)
}

func (s *fakeServer) pack(w http.ResponseWriter, r *http.Request, session transport.UploadPackSession) error {
	req := packp.NewUploadPackRequest()
	if err := req.UploadRequest.Decode(r.Body); err != nil {
		return err
	}
	depth := req.Depth
	req.Depth = packp.DepthCommits(0)
	if !depth.IsZero() {
		s.asked.Add(1)
		req.Capabilities.Delete(capability.Shallow)
	}
	response, err := session.UploadPack(r.Context(), req)
	if err != nil {
		return err
	}
	if !depth.IsZero() {
		if err := (&packp.ShallowUpdate{Shallows: []plumbing.Hash{req.Wants[0]}}).Encode(w); err != nil {
			return err
		}
	}
	return response.Encode(w)
}

// config is a resolver's config that trusts the server's certificate.
func (s *fakeServer) config() Config {
	return Config{Transport: s.Client().Transport, AllowHost: func(string) error { return nil }}
}
