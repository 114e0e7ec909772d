package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// chain is what every call goes through: recover, log, bound in time, check the
// request against the rules in the proto, map the error.
type chain struct {
	log       *slog.Logger
	validator protovalidate.Validator
	timeout   time.Duration
	slow      map[string]time.Duration
	mapError  func(error) error
	check     func(ctx context.Context, method string, req any) error
}

func (c *chain) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(info.FullMethod, p)
		}
		c.done(ctx, info.FullMethod, start, err)
	}()
	timeout := c.timeout
	if d, ok := c.slow[info.FullMethod]; ok {
		timeout = d
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := c.admit(ctx, info.FullMethod, req); err != nil {
		return nil, err
	}
	resp, err = handler(ctx, req)
	return resp, c.mapped(err)
}

func (c *chain) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(info.FullMethod, p)
		}
		c.done(ss.Context(), info.FullMethod, start, err)
	}()
	return c.mapped(handler(srv, &checkedStream{ss, c, info.FullMethod}))
}

// checkedStream checks every message that arrives on a stream.
type checkedStream struct {
	grpc.ServerStream
	chain  *chain
	method string
}

// RecvMsg receives and checks one message.
func (s *checkedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return s.chain.admit(s.Context(), s.method, m)
}

func (c *chain) admit(ctx context.Context, method string, req any) error {
	if m, ok := req.(proto.Message); ok {
		if err := c.validator.Validate(m); err != nil {
			return invalid(err)
		}
	}
	if c.check == nil {
		return nil
	}
	return c.check(ctx, method, req)
}

func invalid(err error) error {
	var v *protovalidate.ValidationError
	if !errors.As(err, &v) {
		return Error(codes.Internal, "VALIDATION_BROKEN", "the request could not be checked: "+err.Error())
	}
	bad := &errdetails.BadRequest{}
	var words []string
	for _, x := range v.Violations {
		field, text := protovalidate.FieldPathString(x.Proto.GetField()), violation(x.Proto.GetMessage(), x.RuleValue)
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: field, Description: text, Reason: "INVALID_FIELD",
		})
		words = append(words, field+" "+text)
	}
	return withDetails(codes.InvalidArgument, "INVALID_REQUEST", strings.Join(words, "; "), nil, bad)
}

func (c *chain) mapped(err error) error {
	if err == nil || c.mapError == nil {
		return err
	}
	if Reason(err) != "" {
		return err
	}
	return c.mapError(err)
}

func (c *chain) panicked(method string, p any) error {
	c.log.Error("call panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return Error(codes.Internal, "INTERNAL", "the call failed for a fault of the server: its log has the details")
}

// done logs calls that failed for the server's own fault; what a caller did
// wrong is the caller's to know.
func (c *chain) done(ctx context.Context, method string, start time.Time, err error) {
	level := slog.LevelDebug
	switch status.Code(err) {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		level = slog.LevelError
	}
	c.log.Log(ctx, level, "call", "method", method, "code", status.Code(err).String(), "took", time.Since(start), "error", err)
}
