package enclave

import (
	"errors"
	"fmt"
)

// Sentinels of Backend; match them with errors.Is.
var (
	// ErrNotFound: no enclave has this id.
	ErrNotFound = errors.New("no such enclave")
	// ErrExists: an enclave with this id was started from another instance.
	ErrExists = errors.New("an enclave with this id exists and runs something else")
	// ErrRunning: the enclave still runs; stop it first.
	ErrRunning = errors.New("the enclave is running; stop it first")
	// ErrClosed: the backend was closed.
	ErrClosed = errors.New("the backend is closed")
)

// Reasons are stable codes, told to users as Enclave.reason.
const (
	// ReasonImageMissing: an image can't be found.
	ReasonImageMissing = "IMAGE_MISSING"
	// ReasonPrepareFailed: something could not be fetched or verified.
	ReasonPrepareFailed = "PREPARE_FAILED"
	// ReasonInvalidSpec: the spec or its config can't be run by this backend.
	ReasonInvalidSpec = "INVALID_SPEC"
	// ReasonStartFailed: the VM's process could not be started.
	ReasonStartFailed = "START_FAILED"
	// ReasonBootFailed: the VM ended before its guest listened.
	ReasonBootFailed = "BOOT_FAILED"
	// ReasonNeverStarted: the host was interrupted between record and start.
	ReasonNeverStarted = "NEVER_STARTED"
	// ReasonPoweredOff: the guest stopped its containers and powered off.
	ReasonPoweredOff = "POWERED_OFF"
	// ReasonKilled: it did not power off within the grace time and was killed.
	ReasonKilled = "KILLED"
	// ReasonDied: it ended without being asked to.
	ReasonDied = "DIED"
	// ReasonCorrupt: its record on the host can't be read.
	ReasonCorrupt = "CORRUPT_RECORD"
)

// Error is a failure whose cause an operator can act on.
type Error struct {
	// Reason is one of the codes above.
	Reason string
	// Text says what was the case and what to do.
	Text string
	// Err is the cause, if there is one.
	Err error
}

// Error gives text, code and cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s (%s)", e.Text, e.Reason)
	}
	return fmt.Sprintf("%s (%s): %v", e.Text, e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of the first *Error that err wraps, or "".
func ReasonOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}
