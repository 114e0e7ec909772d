package rpc

import (
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Domain is the domain of every ErrorInfo.
const Domain = "casemate.dev"

// Error returns a gRPC error with an ErrorInfo. The text says what to do next;
// meta is given as pairs of key and value.
func Error(code codes.Code, reason, text string, meta ...string) error {
	return withDetails(code, reason, text, meta)
}

// FieldError returns INVALID_ARGUMENT for one field of a request, by its path.
func FieldError(field, reason, text string) error {
	return withDetails(codes.InvalidArgument, reason, text, []string{"field", field},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{
			Field: field, Description: text, Reason: reason,
		}}})
}

// TryAgain returns UNAVAILABLE with a RetryInfo: the same request is worth another
// try after so long.
func TryAgain(reason, text string, after time.Duration) error {
	return withDetails(codes.Unavailable, reason, text, nil, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
}

// Precondition returns FAILED_PRECONDITION with a PreconditionFailure on subject.
func Precondition(reason, subject, text string, meta ...string) error {
	return withDetails(codes.FailedPrecondition, reason, text, meta,
		&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{
			Type: reason, Subject: subject, Description: text,
		}}})
}

func withDetails(code codes.Code, reason, text string, meta []string, more ...protoadapt.MessageV1) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: Domain}
	for i := 0; i+1 < len(meta); i += 2 {
		if info.Metadata == nil {
			info.Metadata = map[string]string{}
		}
		info.Metadata[meta[i]] = meta[i+1]
	}
	st := status.New(code, text)
	detailed, err := st.WithDetails(append([]protoadapt.MessageV1{info}, more...)...)
	if err != nil {
		return st.Err()
	}
	return detailed.Err()
}

// Reason returns the reason of an error's ErrorInfo, or "" if it has none.
func Reason(err error) string {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return ""
	}
	for _, d := range s.GRPCStatus().Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// Text returns the message of a gRPC error, or the error's own text.
func Text(err error) string {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Message()
	}
	return err.Error()
}

// Code returns the code of a gRPC error, looking through wrapping.
func Code(err error) codes.Code {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Code()
	}
	return status.Code(err)
}
