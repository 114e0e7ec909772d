package agent

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/grpc/codes"

	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/internal/fence"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Reasons in the ErrorInfo of this service's errors.
const (
	// ReasonStaleEpoch: a newer coordinator has called already.
	ReasonStaleEpoch = "STALE_EPOCH"
	// ReasonForeignCluster: another cluster is followed.
	ReasonForeignCluster = "FOREIGN_CLUSTER"
	// ReasonOtherIncarnation: the call is for the host as it was before it was set up
	// anew.
	ReasonOtherIncarnation = "OTHER_INCARNATION"
	// ReasonStarting: what runs here is not known yet.
	ReasonStarting = "STARTING"
	// ReasonNotFound: no enclave has this id.
	ReasonNotFound = "ENCLAVE_NOT_FOUND"
	// ReasonSpecDiffers: the id is taken by an enclave of another spec.
	ReasonSpecDiffers = "SPEC_DIFFERS"
	// ReasonStopped: the enclave was stopped before it was created.
	ReasonStopped = "STOPPED"
	// ReasonNoCapacity: GPUs, vCPUs or memory are lacking.
	ReasonNoCapacity = "NO_CAPACITY"
	// ReasonNotEnded: the enclave has not ended, or still holds its claim.
	ReasonNotEnded = "NOT_ENDED"
	// ReasonTooMany: the host keeps as many records as it will.
	ReasonTooMany = "TOO_MANY_RECORDS"
	// ReasonInvalidConfig: the config file in the spec is refused.
	ReasonInvalidConfig = "INVALID_CONFIG"
	// ReasonSpecMismatch: the spec and the config in it say different things.
	ReasonSpecMismatch = "SPEC_MISMATCH"
	// ReasonProfile: the host makes another kind of enclave.
	ReasonProfile = "PROFILE_MISMATCH"
	// ReasonInsecure: the configuration does not allow such an enclave.
	ReasonInsecure = "INSECURE_NOT_ALLOWED"
	// ReasonNoEndpoint: the guest does not listen yet.
	ReasonNoEndpoint = "NOT_LISTENING"
	// ReasonGuest: the guest did not answer, or refused.
	ReasonGuest = "GUEST_FAILED"
	// ReasonTooOften: evidence is asked for too often.
	ReasonTooOften = "TOO_OFTEN"
	// ReasonSlowReader: the watch was read too slowly.
	ReasonSlowReader = "SLOW_READER"
	// ReasonStateUnwritten: the agent's state can't be written.
	ReasonStateUnwritten = "STATE_UNWRITTEN"
	// ReasonBackend: the backend failed.
	ReasonBackend = "BACKEND_FAILED"
)

// MapError turns what handlers return into gRPC errors; see rpc.Config.
func MapError(err error) error {
	if refused, ok := errors.AsType[*fence.RefusedError](err); ok {
		return fenceError(refused)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return rpc.Error(codes.DeadlineExceeded, "DEADLINE", err.Error())
	case errors.Is(err, context.Canceled):
		return rpc.Error(codes.Canceled, "CANCELLED", err.Error())
	case errors.Is(err, fence.ErrMalformed):
		return rpc.FieldError("fence", "MALFORMED_FENCE", err.Error())
	case errors.Is(err, ledger.ErrNotReconciled):
		return starting()
	case errors.Is(err, ledger.ErrExists), errors.Is(err, enclave.ErrExists):
		return rpc.Error(codes.AlreadyExists, ReasonSpecDiffers, err.Error()+": choose another id")
	case errors.Is(err, ledger.ErrReleasing):
		return rpc.Error(codes.Aborted, "RELEASING", err.Error()+": try again")
	case errors.Is(err, ledger.ErrCapacity), errors.Is(err, ledger.ErrHeld), errors.Is(err, ledger.ErrQuarantined),
		errors.Is(err, gpu.ErrNotEnough), errors.Is(err, gpu.ErrCount):
		return noCapacity(err)
	case errors.Is(err, ledger.ErrRequest):
		return rpc.Error(codes.InvalidArgument, "INVALID_CLAIM", err.Error())
	case errors.Is(err, enclave.ErrNotFound):
		return rpc.Error(codes.NotFound, ReasonNotFound, err.Error())
	case errors.Is(err, enclave.ErrRunning):
		return rpc.Precondition(ReasonNotEnded, "enclave", err.Error())
	}
	if reason := enclave.ReasonOf(err); reason != "" {
		return rpc.Precondition(reason, "spec", err.Error())
	}
	return rpc.Error(codes.Internal, "INTERNAL", err.Error())
}

func fenceError(e *fence.RefusedError) error {
	meta := []string{"cluster_id", e.Held.Cluster, "epoch", strconv.FormatInt(e.Held.Epoch, 10)}
	if errors.Is(e, fence.ErrForeign) {
		return rpc.Precondition(ReasonForeignCluster, "fence.cluster_id",
			e.Error()+": set cluster_id in the agent's configuration to hand the host over", meta...)
	}
	return rpc.Precondition(ReasonStaleEpoch, "fence.epoch", e.Error()+": step down", meta...)
}

func otherIncarnation(own string) error {
	return rpc.Precondition(ReasonOtherIncarnation, "fence.incarnation",
		"the call is for this host as it was before it was set up anew, or its state folder lost: look at what it has now", "incarnation", own)
}

func starting() error {
	return rpc.Error(codes.Unavailable, ReasonStarting,
		"the agent is still comparing its records with what runs here, and looking at the GPUs: try again; GetHost says what it waits for")
}

func notFound(id string) error {
	return rpc.Error(codes.NotFound, ReasonNotFound, "there is no enclave "+strconv.Quote(id)+" here", "enclave", id)
}

// noCapacity says what is lacking, also for programs.
func noCapacity(err error) error {
	var meta []string
	if short, ok := errors.AsType[*gpu.NotEnoughError](err); ok {
		meta = append(meta, "gpus_wanted", strconv.Itoa(short.Want), "gpus_free", strconv.Itoa(short.Free))
	}
	if short, ok := errors.AsType[*ledger.CapacityError](err); ok {
		meta = append(meta,
			"cpus_wanted", strconv.Itoa(short.Want.CPUs), "cpus_free", strconv.Itoa(short.Free.CPUs),
			"memory_mib_wanted", strconv.FormatInt(short.Want.MemoryMiB, 10),
			"memory_mib_free", strconv.FormatInt(short.Free.MemoryMiB, 10))
	}
	return rpc.Error(codes.ResourceExhausted, ReasonNoCapacity, err.Error(), meta...)
}

func unwritten(err error) error {
	return rpc.Error(codes.Unavailable, ReasonStateUnwritten,
		err.Error()+": look at the disk that holds the agent's state, then try again")
}
