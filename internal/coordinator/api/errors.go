package api

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/plan"
	"github.com/casemate-dev/casemate/internal/coordinator/planner"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/coordinator/runner"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// MapError turns the errors of the parts below into gRPC errors with a reason.
func MapError(err error) error {
	for _, m := range []func(error) error{requestErrors, releaseErrors, stateErrors} {
		if mapped := m(err); mapped != nil {
			return mapped
		}
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return rpc.Error(codes.Internal, "INTERNAL", err.Error())
}

// joinRetry is when hosts that have not answered since the coordinator's start have
// mostly done so.
const joinRetry = 5 * time.Second

// requestErrors are answers of the engine and the planner.
func requestErrors(err error) error {
	var (
		refused *engine.Refused
		noPlan  *plan.Refused
		exists  *runner.ExistsError
		taken   *records.DomainTakenError
	)
	switch {
	case errors.As(err, &refused) && refused.Reason == "UPDATE_IN_PROGRESS":
		return rpc.Error(codes.Aborted, refused.Reason, refused.Text, "update", refused.Update)
	case errors.As(err, &refused):
		return rpc.Precondition(refused.Reason, refused.Update, refused.Text, "update", refused.Update)
	case errors.As(err, &noPlan) && noPlan.Reason == plan.HostsJoining:
		return rpc.TryAgain(noPlan.Reason, noPlan.Text, joinRetry)
	case errors.As(err, &noPlan) && noPlan.Reason == "NO_CAPACITY":
		return rpc.Error(codes.ResourceExhausted, noPlan.Reason, noPlan.Text)
	case errors.As(err, &noPlan):
		return rpc.Precondition(noPlan.Reason, "plan", noPlan.Text)
	case errors.As(err, &exists):
		return rpc.Error(codes.AlreadyExists, "CONTAINER_EXISTS", exists.Error(), "container", exists.Key.Name)
	case errors.As(err, &taken):
		return rpc.Error(codes.AlreadyExists, "DOMAIN_TAKEN", taken.Error(), "domain", taken.Domain)
	}
	return nil
}

// releaseErrors are about repositories, tags, configs and inputs.
func releaseErrors(err error) error {
	var (
		parse *release.ParseError
		input *release.InputError
		unfit *manifest.RefusedError
	)
	switch {
	case errors.As(err, &unfit):
		return rpc.Precondition(string(unfit.Reason), "release", unfit.Error())
	case errors.Is(err, git.ErrManifest):
		return rpc.Precondition(string(manifest.Malformed), "release", err.Error())
	case errors.Is(err, sigstore.ErrUnavailable):
		return rpc.Error(codes.Unavailable, "SIGSTORE_UNAVAILABLE", err.Error())
	case errors.As(err, &parse):
		return rpc.FieldError("spec.tag", "CONFIG_REFUSED", err.Error())
	case errors.As(err, &input):
		return rpc.FieldError("spec", "INPUTS_REFUSED", err.Error())
	case errors.Is(err, planner.ErrSpecTooLarge):
		return rpc.FieldError("spec", "SPEC_TOO_LARGE", err.Error())
	case errors.Is(err, planner.ErrSecret):
		return rpc.FieldError("spec.secrets", "NO_SUCH_SECRET", err.Error())
	case errors.Is(err, git.ErrUnreachable):
		return rpc.Error(codes.Unavailable, "REPOSITORY_UNREACHABLE", err.Error())
	case errors.Is(err, git.ErrAddress):
		return rpc.FieldError("spec.repository", "BAD_REPOSITORY", err.Error())
	case errors.Is(err, planner.ErrSSHKeys):
		return rpc.FieldError("spec.ssh_keys", "INPUTS_REFUSED", err.Error())
	case errors.Is(err, git.ErrMoved):
		return rpc.Precondition("TAG_MOVED", "tag", err.Error())
	case errors.Is(err, git.ErrNoTag), errors.Is(err, git.ErrTagName):
		return rpc.FieldError("spec.tag", "NO_SUCH_TAG", err.Error())
	case errors.Is(err, git.ErrNoConfig), errors.Is(err, git.ErrTwoConfigs), errors.Is(err, git.ErrTooLarge):
		return rpc.FieldError("spec.tag", "NO_USABLE_CONFIG", err.Error())
	}
	return nil
}

// stateErrors are of the store, the fleet and the process.
func stateErrors(err error) error {
	switch {
	case errors.Is(err, runner.ErrNothingServes):
		return rpc.Precondition("NOTHING_SERVES", "container", err.Error())
	case errors.Is(err, runner.ErrNoEvidence):
		return rpc.Error(codes.Unavailable, "NO_EVIDENCE", err.Error())
	case errors.Is(err, store.ErrNotFound), errors.Is(err, fleet.ErrUnknownHost):
		return rpc.Error(codes.NotFound, "NOT_FOUND", err.Error())
	case errors.Is(err, store.ErrCompacted), errors.Is(err, store.ErrFutureRevision):
		return rpc.Error(codes.OutOfRange, "RESUME_TOKEN_EXPIRED", "the history after this token is gone: watch again without it")
	case errors.Is(err, store.ErrSlowReader):
		return rpc.Error(codes.ResourceExhausted, "SLOW_READER", "this watch was read too slowly and is closed: watch again")
	case errors.Is(err, store.ErrTooLarge):
		return rpc.Error(codes.InvalidArgument, "TOO_LARGE", "a record of this would be too large to keep: make the config file, or what else is given, smaller ("+err.Error()+")")
	case errors.Is(err, store.ErrFull):
		return rpc.Error(codes.Unavailable, "STORE_FULL", err.Error())
	case errors.Is(err, store.ErrConflict):
		return rpc.Error(codes.Aborted, "CONFLICT", "the record changed meanwhile: read it again and repeat")
	case errors.Is(err, records.ErrFenced), errors.Is(err, runner.ErrStopped), errors.Is(err, store.ErrClosed):
		return rpc.Error(codes.Unavailable, "STOPPING", "this coordinator is stopping: try again")
	case errors.Is(err, context.DeadlineExceeded):
		return rpc.Error(codes.DeadlineExceeded, "DEADLINE", err.Error())
	case errors.Is(err, context.Canceled):
		return rpc.Error(codes.Canceled, "CANCELLED", err.Error())
	}
	return nil
}

func etagMismatch(what string) error {
	return rpc.Error(codes.Aborted, "ETAG_MISMATCH", "the "+what+" has changed since it was read: read it again and repeat")
}
