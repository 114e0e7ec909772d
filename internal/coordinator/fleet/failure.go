package fleet

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// Permanent returns why a call to an agent failed for good, or nil if it is
// worth another try: an agent that does not answer is unknown, not gone.
func Permanent(err error) *engine.Failure {
	if rpc.Reason(err) == "OTHER_INCARNATION" {
		return nil // the host was set up anew, as its watch is about to tell
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	f := &engine.Failure{Reason: rpc.Reason(err), Text: clip(rpc.Text(err), maxText)}
	switch rpc.Code(err) {
	case codes.ResourceExhausted:
		f.NoRoom = true
	case codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.AlreadyExists,
		codes.PermissionDenied, codes.Unimplemented, codes.OutOfRange, codes.DataLoss:
	default:
		return nil
	}
	if f.Reason == "" {
		f.Reason = "AGENT_REFUSED"
	}
	return f
}
