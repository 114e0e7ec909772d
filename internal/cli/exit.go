package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/casemate-dev/casemate/internal/cli/follow"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// Exit codes.
const (
	// ExitOK: done.
	ExitOK = 0
	// ExitFailed: refused, failed or cancelled, with the reason.
	ExitFailed = 1
	// ExitUsage: the command line is wrong, or an answer is missing.
	ExitUsage = 2
	// ExitUnreachable: the coordinator can't be reached, or was lost.
	ExitUnreachable = 3
	// ExitInterrupted: Ctrl-C; what was begun goes on.
	ExitInterrupted = 130
)

// codeError is an error with the exit code it leads to.
type codeError struct {
	code int
	err  error
	// told says that the person has seen it already.
	told bool
}

// Error gives the error's own text.
func (e *codeError) Error() string { return e.err.Error() }

// Unwrap returns the error itself.
func (e *codeError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &codeError{code: ExitUsage, err: fmt.Errorf(format, args...)}
}

func failedf(format string, args ...any) error {
	return &codeError{code: ExitFailed, err: fmt.Errorf(format, args...)}
}

// told is a failure that is on the screen already.
func told(code int, text string) error {
	return &codeError{code: code, err: errors.New(text), told: true}
}

// exitCode maps an error to the exit code.
func (a *app) exitCode(err error) int {
	var coded *codeError
	var lost *follow.LostError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &coded):
		return coded.code
	case !a.running:
		return ExitUsage
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.As(err, &lost):
		return ExitUnreachable
	}
	return callCode(err)
}

// callCode is the exit code of a failed call: an answer with a reason is the
// coordinator's, one without is the connection's.
func callCode(err error) int {
	var st interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &st) {
		if errors.Is(err, context.DeadlineExceeded) {
			return ExitUnreachable
		}
		return ExitFailed
	}
	answered := rpc.Reason(err) != "" && rpc.Reason(err) != "STOPPING"
	switch rpc.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		if !answered {
			return ExitUnreachable
		}
	case codes.Canceled:
		return ExitInterrupted
	}
	return ExitFailed
}

// finish tells an error and returns the exit code.
func (a *app) finish(err error) int {
	code := a.exitCode(err)
	var coded *codeError
	if err == nil || errors.As(err, &coded) && coded.told {
		return code
	}
	text := a.explain(err, code)
	_, _ = fmt.Fprintln(a.env.Err, "casemate: "+text)
	return code
}

// explain is the error in words: the server's text, the reason in brackets, and
// what to do next.
func (a *app) explain(err error, code int) string {
	reason := rpc.Reason(err)
	lines := strings.Split(rpc.Text(err), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(terminal.Clean(lines[i]))
	}
	text := strings.Join(lines, "\n  ")
	if mark := " [" + terminal.Clean(reason) + "]"; reason != "" && !strings.HasSuffix(text, mark) {
		text += mark
	}
	switch {
	case code == ExitUnreachable:
		text = a.unreachable(err, text)
	case !a.running:
		text += "\n  usage: " + a.cmd.UseLine() + "\n  next: " + a.cmd.CommandPath() + " --help"
	case code == ExitInterrupted:
		text = "interrupted"
	case hints[reason] != "":
		text += "\n  next: " + hints[reason]
	}
	return text
}

// dialCause takes the system's words for why nobody answers out of gRPC's.
func dialCause(text string) string {
	if _, cause, ok := strings.Cut(text, "Error while dialing: "); ok {
		return strings.TrimSuffix(cause, `"`)
	}
	return text
}

// unreachable says why nobody answers, and what to do.
func (a *app) unreachable(err error, text string) string {
	text = dialCause(text)
	next := "see that it runs, or name another with --coordinator"
	var lost *follow.LostError
	switch {
	case errors.As(err, &lost):
	case strings.Contains(text, "permission denied"):
		next = "its socket is for members of the group casemate: adduser NAME casemate, and log in again"
	case rpc.Code(err) == codes.DeadlineExceeded:
		text = "no answer within " + a.flags.timeout.String()
		next = "see that it runs, or give it more time with --timeout"
	}
	return "the coordinator at " + a.address() + " can't be reached: " + text + "\n  next: " + next
}

// hints say what to type next, by the reason of an error.
var hints = map[string]string{
	"DOWNTIME_REQUIRED":          "accept it with --allow-downtime, or free GPUs: casemate host list",
	"NO_CAPACITY":                "see what is free: casemate host list",
	"HOSTS_JOINING":              "repeat the command in a few seconds; casemate host list shows who has yet to answer",
	"CAPACITY_LOST":              "see what is free: casemate host list",
	"UPDATE_IN_PROGRESS":         "see it with casemate container update status NAME, or take its place with --supersede",
	"ETAG_MISMATCH":              "look again, then repeat",
	"CONFLICT":                   "look again, then repeat",
	"ALREADY_SWITCHED":           "go back with casemate container relaunch NAME --tag OLDER",
	"CONTAINER_EXISTS":           "see what is there: casemate container list",
	"NO_SUCH_SECRET":             "see what there is: casemate secret list",
	"CONFIG_REFUSED":             "correct the config file, check it with casemate config check, and make a new tag",
	"MANIFEST_MISSING":           "wait for the second phase of the release, or repeat it; docs/releases.md says how",
	"MANIFEST_UNSIGNED":          "sign it: casemate release sign, attach, and push it",
	"MANIFEST_MALFORMED":         "make it again with casemate release measure, sign and attach",
	"MANIFEST_SIGNED_BY_ANOTHER": "see who is trusted: releases.signers in the coordinator's configuration",
	"MANIFEST_BAD_SIGNATURE":     "somebody changed it: sign the release again, and find out who",
	"MANIFEST_OTHER_REPOSITORY":  "measure and sign the release for this repository",
	"MANIFEST_OTHER_TAG":         "measure and sign the release for this tag",
	"MANIFEST_OTHER_COMMIT":      "measure and sign the release again, for the commit that the tag names",
	"MANIFEST_OTHER_CONFIG":      "measure and sign the release again, with the config of its commit",
	"MANIFEST_OTHER_SHAPE":       "measure and sign the release again, with the config of its commit",
	"MANIFEST_NOT_MEASURED":      "measure it for such enclaves too: machines in platforms.yaml",
	"MANIFEST_NO_SIGNER":         "ask the operator to name a signer in releases.signers",
	"MANIFEST_BELOW_FLOOR":       "take a newer release; the floor is in releases.signers",
	"REQUEST_ID_REUSED":          "repeat the command",
	"RESUME_TOKEN_EXPIRED":       "repeat the command",
}
