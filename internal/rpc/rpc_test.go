package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secrets answers by name: some names panic, hang or fail.
type secrets struct {
	cv1.UnimplementedSecretServiceServer
}

var errPlain = errors.New("disk on fire")

func (secrets) GetSecret(ctx context.Context, m *cv1.GetSecretRequest) (*cv1.GetSecretResponse, error) {
	switch m.GetName() {
	case "PANIC":
		panic("boom")
	case "HANG":
		<-ctx.Done()
		return nil, ctx.Err()
	case "PLAIN":
		return nil, errPlain
	case "REASON":
		return nil, Precondition("SECRET_BOUND", "REASON", "it is bound: unbind it", "container", "api")
	}
	return &cv1.GetSecretResponse{Secret: &cv1.Secret{Name: m.GetName()}}, nil
}

func (secrets) ListSecrets(context.Context, *cv1.ListSecretsRequest) (*cv1.ListSecretsResponse, error) {
	return &cv1.ListSecretsResponse{}, nil
}

type events struct {
	cv1.UnimplementedEventServiceServer
}

func (events) WatchEvents(_ *cv1.WatchEventsRequest, s grpc.ServerStreamingServer[cv1.WatchEventsResponse]) error {
	if err := s.Send(&cv1.WatchEventsResponse{}); err != nil {
		return err
	}
	panic("boom")
}

// serve runs a server on a socket and on TCP and returns a client of each.
func serve(t *testing.T) (local, remote *grpc.ClientConn) {
	t.Helper()
	socket := "unix://" + filepath.Join(t.TempDir(), "s.sock")
	l, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(Config{
		Log: slog.New(slog.DiscardHandler), Local: []net.Listener{l}, Remote: []net.Listener{r},
		Slow: map[string]time.Duration{cv1.SecretService_GetSecret_FullMethodName: 50 * time.Millisecond},
		Register: func(reg grpc.ServiceRegistrar) {
			cv1.RegisterSecretServiceServer(reg, secrets{})
			cv1.RegisterEventServiceServer(reg, events{})
		},
		MapError: func(err error) error { return Error(codes.Unavailable, "MAPPED", err.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	local, remote = dial(t, socket), dial(t, r.Addr().String())
	t.Cleanup(func() {
		if err := errors.Join(local.Close(), remote.Close()); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return local, remote
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	c, err := Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryErrorCarriesAReason(t *testing.T) {
	local, _ := serve(t)
	client := cv1.NewSecretServiceClient(local)
	for _, tc := range []struct {
		rule, org, name string
		code            codes.Code
		reason, says    string
	}{
		{"a rule of the proto names the field", "", "KEY", codes.InvalidArgument, "INVALID_REQUEST", "org"},
		{"a panic is the server's fault and is not told", "acme", "PANIC", codes.Internal, "INTERNAL", "log"},
		{"a call that hangs is ended", "acme", "HANG", codes.Unavailable, "MAPPED", "deadline"},
		{"a plain error is mapped", "acme", "PLAIN", codes.Unavailable, "MAPPED", "disk on fire"},
		{"an error with a reason stays as it is", "acme", "REASON", codes.FailedPrecondition, "SECRET_BOUND", "unbind it"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			_, err := client.GetSecret(t.Context(), &cv1.GetSecretRequest{Org: tc.org, Name: tc.name})
			if Code(err) != tc.code || Reason(err) != tc.reason || !strings.Contains(Text(err), tc.says) {
				t.Errorf("got %v %s %q, want %v %s and %q in the text", Code(err), Reason(err), Text(err), tc.code, tc.reason, tc.says)
			}
			if strings.Contains(Text(err), "boom") {
				t.Error("what panicked is told to the caller")
			}
		})
	}
}

func TestAViolationNamesItsField(t *testing.T) {
	local, _ := serve(t)
	_, err := cv1.NewSecretServiceClient(local).ListSecrets(t.Context(), &cv1.ListSecretsRequest{Org: "acme", PageSize: -1})
	var bad *errdetails.BadRequest
	for _, d := range status.Convert(err).Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			bad = b
		}
	}
	if bad == nil || bad.GetFieldViolations()[0].GetField() != "page_size" {
		t.Errorf("details of %v are %v, want page_size named", err, bad)
	}
}

func TestStreamsAreCheckedAndRecovered(t *testing.T) {
	local, _ := serve(t)
	client := cv1.NewEventServiceClient(local)
	s, err := client.WatchEvents(t.Context(), &cv1.WatchEventsRequest{Org: strings.Repeat("x", 99)})
	if err == nil {
		_, err = s.Recv()
	}
	if Code(err) != codes.InvalidArgument {
		t.Errorf("a request against the rules gave %v", err)
	}
	s, err = client.WatchEvents(t.Context(), &cv1.WatchEventsRequest{Org: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); Code(err) != codes.Internal || Reason(err) != "INTERNAL" {
		t.Errorf("a panic in a stream gave %v", err)
	}
}

func TestHealthIsToldByService(t *testing.T) {
	local, remote := serve(t)
	for _, c := range []*grpc.ClientConn{local, remote} {
		for _, service := range []string{"", "casemate.coordinator.v1.SecretService"} {
			r, err := healthpb.NewHealthClient(c).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
			if err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("health of %q is %v, %v", service, r.GetStatus(), err)
			}
		}
	}
}

func TestChannelzIsOnTheLocalSocketOnly(t *testing.T) {
	local, remote := serve(t)
	ask := func(c *grpc.ClientConn) error {
		_, err := grpc_channelz_v1.NewChannelzClient(c).GetServers(t.Context(), &grpc_channelz_v1.GetServersRequest{})
		return err
	}
	if err := ask(local); err != nil {
		t.Errorf("on the local socket: %v", err)
	}
	if err := ask(remote); Code(err) != codes.Unimplemented {
		t.Errorf("on TCP: %v, want it unknown", err)
	}
}

func TestListenReplacesOnlyAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), "unix://"+path); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("a socket that answers was taken over: %v", err)
	}
	// What a killed process leaves is a socket that nobody listens on.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), "unix://"+t.TempDir()); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a folder was taken for a socket: %v", err)
	}
	if _, err := Listen(t.Context(), "nonsense"); err == nil {
		t.Error("listens on nonsense")
	}
}

func TestPageTokens(t *testing.T) {
	token := PageToken("containers/acme/", "containers/acme/api")
	if after, err := PageAfter("containers/acme/", token); err != nil || after != "containers/acme/api" {
		t.Errorf("got %q, %v", after, err)
	}
	if after, err := PageAfter("x", ""); err != nil || after != "" {
		t.Errorf("the first page begins after %q, %v", after, err)
	}
	for _, bad := range []string{"!", "AAAA", PageToken("containers/other/", "k")} {
		if _, err := PageAfter("containers/acme/", bad); Reason(err) != "BAD_PAGE_TOKEN" {
			t.Errorf("token %q gave %v, want it refused", bad, err)
		}
	}
	got := []int{PageSize(0), PageSize(7), PageSize(5000)}
	if !slices.Equal(got, []int{DefaultPage, 7, MaxPage}) {
		t.Errorf("page sizes %v", got)
	}
}

func FuzzPageAfter(f *testing.F) {
	f.Add("s", PageToken("s", "k"))
	f.Add("s", "cDE\r6cwA0")
	f.Add("", "!")
	f.Fuzz(func(t *testing.T, scope, token string) {
		after, err := PageAfter(scope, token)
		if err == nil && token != "" && PageToken(scope, after) != token {
			t.Errorf("token %q reads as %q, which makes another token", token, after)
		}
	})
}
