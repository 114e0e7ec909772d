package sim

import (
	"context"
	"io"
	"log/slog"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/casemate-dev/casemate/internal/coordinator/api"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// conn is how users reach one coordinator: its registered services, through the
// chain that every call of the real server goes through, without a socket.
type conn struct {
	w       *world
	ctx     context.Context
	unary   map[string]unaryMethod
	streams map[string]streamMethod
}

type unaryMethod struct {
	impl any
	desc grpc.MethodDesc
}

type streamMethod struct {
	impl any
	desc grpc.StreamDesc
}

var (
	_ grpc.ClientConnInterface = (*conn)(nil)
	_ grpc.ServiceRegistrar    = (*conn)(nil)
)

// chain is the same for all coordinators: its validator compiles the rules of the
// protos once.
var chain = sync.OnceValue(func() (c struct {
	unary  grpc.UnaryServerInterceptor
	stream grpc.StreamServerInterceptor
}) {
	var err error
	c.unary, c.stream, err = rpc.Interceptors(rpc.Config{Log: slog.New(slog.DiscardHandler), MapError: api.MapError, Slow: api.Slow()})
	if err != nil {
		panic(err)
	}
	return c
})

// newConn returns a connection that is good until ctx ends.
func (w *world) newConn(ctx context.Context, s *api.Server) *conn {
	c := &conn{w: w, ctx: ctx, unary: map[string]unaryMethod{}, streams: map[string]streamMethod{}}
	s.Register(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range c.unary {
		w.methods[name] = true
	}
	for name := range c.streams {
		w.methods[name] = true
	}
	return c
}

// calls notes that a method is called.
func (c *conn) calls(method string) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.calls[method] = true
}

// RegisterService keeps the methods of a service.
func (c *conn) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, m := range desc.Methods {
		c.unary["/"+desc.ServiceName+"/"+m.MethodName] = unaryMethod{impl, m}
	}
	for _, s := range desc.Streams {
		c.streams["/"+desc.ServiceName+"/"+s.StreamName] = streamMethod{impl, s}
	}
}

// Invoke makes a call.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	c.calls(method)
	m, ok := c.unary[method]
	if !ok {
		return status.Error(codes.Unimplemented, method)
	}
	out, err := m.desc.Handler(m.impl, ctx, func(in any) error {
		proto.Merge(in.(proto.Message), args.(proto.Message))
		return nil
	}, chain().unary)
	if err != nil {
		return err
	}
	if c.ctx.Err() != nil {
		return errLost
	}
	proto.Merge(reply.(proto.Message), out.(proto.Message))
	return nil
}

// NewStream begins a call whose answers are a stream. It must be read to its end
// or its context cancelled.
func (c *conn) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	c.calls(method)
	m, ok := c.streams[method]
	if !ok {
		return nil, status.Error(codes.Unimplemented, method)
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(c.ctx, cancel)
	return &stream{ctx: ctx, cancel: cancel, method: m, name: method, answers: make(chan proto.Message)}, nil
}

// stream is both ends of one: the server's goroutine sends, the reader receives.
type stream struct {
	ctx     context.Context
	cancel  context.CancelFunc
	method  streamMethod
	name    string
	answers chan proto.Message
	asked   proto.Message
	err     error
}

// SendMsg takes the request; the server begins when there are no more.
func (s *stream) SendMsg(m any) error {
	s.asked = m.(proto.Message)
	return nil
}

// CloseSend starts the server's side.
func (s *stream) CloseSend() error {
	go func() {
		defer close(s.answers)
		defer s.cancel()
		info := &grpc.StreamServerInfo{FullMethod: s.name, IsServerStream: true}
		s.err = chain().stream(s.method.impl, serverStream{s}, info, s.method.desc.Handler)
	}()
	return nil
}

// RecvMsg receives an answer, or how the call ended.
func (s *stream) RecvMsg(m any) error {
	out, ok := <-s.answers
	if !ok {
		if s.err == nil {
			return io.EOF
		}
		return s.err
	}
	proto.Merge(m.(proto.Message), out)
	return nil
}

func (s *stream) Header() (metadata.MD, error) { return nil, nil }
func (s *stream) Trailer() metadata.MD         { return nil }
func (s *stream) Context() context.Context     { return s.ctx }

// serverStream is the server's end.
type serverStream struct{ s *stream }

func (x serverStream) SetHeader(metadata.MD) error  { return nil }
func (x serverStream) SendHeader(metadata.MD) error { return nil }
func (x serverStream) SetTrailer(metadata.MD)       {}
func (x serverStream) Context() context.Context     { return x.s.ctx }

// SendMsg waits until the reader takes the message.
func (x serverStream) SendMsg(m any) error {
	select {
	case x.s.answers <- proto.Clone(m.(proto.Message)):
		return nil
	case <-x.s.ctx.Done():
		return x.s.ctx.Err()
	}
}

// RecvMsg gives the request.
func (x serverStream) RecvMsg(m any) error {
	proto.Merge(m.(proto.Message), x.s.asked)
	return nil
}
