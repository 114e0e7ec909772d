package git

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/server"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
)

// fakeSSH serves one repository over ssh, or says nothing at all.
type fakeSSH struct {
	t        testing.TB
	addr     string
	loader   server.MapLoader
	host     ssh.Signer
	user     ssh.Signer
	silent   bool
	commands []string
	mu       sync.Mutex
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func newSSH(t testing.TB, f *fixture, silent bool) *fakeSSH {
	t.Helper()
	s := &fakeSSH{t: t, host: newSigner(t), user: newSigner(t), silent: silent, loader: server.MapLoader{"file://repo": f.repo.Storer}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return s
}

func (s *fakeSSH) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if s.silent {
		_, _ = conn.Read(make([]byte, 1<<10)) // the client's banner
		_, _ = conn.Read(make([]byte, 1<<10)) // until it goes away
		return
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if m.User() != "git" || string(key.Marshal()) != string(s.user.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(s.host)
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for req := range requests {
			s.mu.Lock()
			s.commands = append(s.commands, string(req.Payload[4:]))
			s.mu.Unlock()
			_ = req.Reply(true, nil)
			_ = s.git(channel) // a client that hangs up is not the server's fault
			_ = channel.Close()
		}
	}
}

func (s *fakeSSH) git(channel ssh.Channel) error {
	session, err := server.NewServer(s.loader).NewUploadPackSession(&transport.Endpoint{Protocol: "file", Path: "repo"}, nil)
	if err != nil {
		return err
	}
	refs, err := session.AdvertisedReferencesContext(context.Background())
	if err != nil {
		return err
	}
	if err := refs.Encode(channel); err != nil {
		return err
	}
	req := packp.NewUploadPackRequest()
	if err := req.UploadRequest.Decode(channel); err != nil {
		return err
	}
	response, err := session.UploadPack(context.Background(), req)
	if err != nil {
		return err
	}
	return response.Encode(channel)
}

func (s *fakeSSH) auth(user ssh.Signer, host ssh.PublicKey) gitssh.AuthMethod {
	return &gitssh.PublicKeys{User: "git", Signer: user,
		HostKeyCallbackHelper: gitssh.HostKeyCallbackHelper{HostKeyCallback: ssh.FixedHostKey(host)}}
}

func TestSSHResolves(t *testing.T) {
	f := newFixture(t)
	commit := f.commit(one("casemate.yml", configText))
	f.tag("v1", commit, true)
	s := newSSH(t, f, false)
	r := newResolver(t, Config{SSHAuth: s.auth(s.user, s.host.PublicKey())})
	got, err := r.Resolve(context.Background(), Request{Repository: "ssh://git@" + s.addr + "/acme/app.git", Tag: "v1"})
	if err != nil || got.Commit != commit.String() || string(got.Content) != configText {
		t.Fatalf("got %+v, %v", got, err)
	}
	if want := "git-upload-pack '/acme/app.git'"; len(s.commands) != 1 || s.commands[0] != want {
		t.Errorf("the server was told %q, want %q", s.commands, want)
	}
}

func TestSSHRefusals(t *testing.T) {
	f := newFixture(t)
	f.tag("v1", f.commit(one("casemate.yml", configText)), true)
	for _, tc := range []struct {
		rule   string
		silent bool
		set    func(*fakeSSH, *Config)
		want   error
		text   string
	}{
		{"a key that the server does not know", false, func(s *fakeSSH, c *Config) { c.SSHAuth = s.auth(s.host, s.host.PublicKey()) }, ErrUnreachable, "unable to authenticate"},
		{"a host key that nobody knows", false, func(s *fakeSSH, c *Config) { c.SSHAuth = s.auth(s.user, s.user.PublicKey()) }, ErrUnreachable, "host key mismatch"},
		{"a server that says nothing", true, func(_ *fakeSSH, c *Config) { c.Timeout = 50 * time.Millisecond }, ErrUnreachable, "no answer in time"},
		{"more bytes than are read", false, func(_ *fakeSSH, c *Config) { c.MaxPackBytes = 20 }, ErrUnreachable, ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			s := newSSH(t, f, tc.silent)
			cfg := Config{SSHAuth: s.auth(s.user, s.host.PublicKey())}
			tc.set(s, &cfg)
			_, err := newResolver(t, cfg).Resolve(context.Background(), Request{Repository: "ssh://git@" + s.addr + "/acme/app", Tag: "v1"})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}
