package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
)

// sshPort is the port of an address that names none (RFC 4253, section 4).
const sshPort = "22"

// sshSession speaks Git's protocol with git-upload-pack at the other end of an
// ssh connection. The library's own ssh transport neither obeys a context while
// it dials nor bounds what a server may send.
type sshSession struct {
	client *ssh.Client
	run    *ssh.Session
	in     io.WriteCloser
	out    io.Reader
	stop   func() bool
}

// dialSSH connects within the context, which ends the connection too.
func dialSSH(ctx context.Context, at address, auth gitssh.AuthMethod, limit int64) (*sshSession, error) {
	config, err := sshConfig(at, auth)
	if err != nil {
		return nil, err
	}
	host := at.host
	if !strings.Contains(host, ":") {
		host = net.JoinHostPort(host, sshPort)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // unblocks whoever reads
	s, err := startSSH(conn, host, config, at.path, limit)
	if err != nil {
		stop()
		return nil, errors.Join(err, ignoreClosed(conn.Close()))
	}
	s.stop = stop
	return s, nil
}

// sshConfig takes the key and the known hosts from auth, and the account from
// the address if it names one.
func sshConfig(at address, auth gitssh.AuthMethod) (*ssh.ClientConfig, error) {
	if auth == nil {
		return nil, errors.New("no ssh key is configured; configure one, or name the repository by https")
	}
	config, err := auth.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("ssh key: %w", err)
	}
	if config.HostKeyCallback == nil {
		return nil, errors.New("no known hosts are configured for ssh")
	}
	if at.user != "" {
		config.User = at.user
	}
	return config, nil
}

// startSSH shakes hands and starts git-upload-pack. The path has been checked
// to hold no quote.
func startSSH(conn net.Conn, host string, config *ssh.ClientConfig, path string, limit int64) (*sshSession, error) {
	c, channels, requests, err := ssh.NewClientConn(conn, host, config)
	if err != nil {
		return nil, fmt.Errorf("ssh handshake: %w", err)
	}
	s := &sshSession{client: ssh.NewClient(c, channels, requests)}
	if s.run, err = s.client.NewSession(); err != nil {
		return nil, fmt.Errorf("ssh session: %w", err)
	}
	if s.in, err = s.run.StdinPipe(); err != nil {
		return nil, fmt.Errorf("ssh session: %w", err)
	}
	out, err := s.run.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("ssh session: %w", err)
	}
	s.out = &boundedBody{io.NopCloser(out), limit}
	if err := s.run.Start("git-upload-pack '" + path + "'"); err != nil {
		return nil, fmt.Errorf("start git-upload-pack: %w", err)
	}
	return s, nil
}

// AdvertisedReferencesContext reads what the server says first.
func (s *sshSession) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	refs := packp.NewAdvRefs()
	if err := refs.Decode(s.out); err != nil {
		return nil, fmt.Errorf("list references: %w", err)
	}
	return refs, nil
}

// UploadPack asks for a pack and leaves it to be read.
func (s *sshSession) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.UploadRequest.Encode(s.in); err != nil {
		return nil, fmt.Errorf("ask for the commit: %w", err)
	}
	if err := pktline.NewEncoder(s.in).EncodeString("done\n"); err != nil {
		return nil, fmt.Errorf("ask for the commit: %w", err)
	}
	if err := s.in.Close(); err != nil {
		return nil, fmt.Errorf("ask for the commit: %w", err)
	}
	response := packp.NewUploadPackResponse(req)
	if err := response.Decode(io.NopCloser(s.out)); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return response, nil
}

// Close ends the connection.
func (s *sshSession) Close() error {
	s.stop()
	return ignoreClosed(s.client.Close())
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
