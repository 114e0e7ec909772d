package e2e

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// wantError wants an error with a code, a reason in its one ErrorInfo, and a
// text that says these things.
func wantError(t *testing.T, err error, code codes.Code, reason string, says ...string) {
	t.Helper()
	s, ok := status.FromError(err)
	if err == nil || !ok || s.Code() != code {
		t.Fatalf("got %v, want %s %s", err, code, reason)
	}
	infos := 0
	for _, d := range s.Details() {
		info, is := d.(*errdetails.ErrorInfo)
		if !is {
			continue
		}
		infos++
		if info.GetReason() != reason || info.GetDomain() == "" {
			t.Errorf("the reason is %s of %q, want %s: %s", info.GetReason(), info.GetDomain(), reason, s.Message())
		}
	}
	if infos != 1 {
		t.Errorf("%d ErrorInfo, want one: %v", infos, err)
	}
	for _, text := range says {
		if !strings.Contains(s.Message(), text) {
			t.Errorf("the error does not say %q: %s", text, s.Message())
		}
	}
}
