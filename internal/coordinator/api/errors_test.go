package api

import (
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/casemate-dev/casemate/internal/coordinator/plan"
)

func TestWhatHangsOnHostsThatHaveYetToAnswerIsWorthAnotherTry(t *testing.T) {
	hosts := plan.Hosts{{{Name: "h1", Down: "has not answered yet", Joining: true}}}
	_, refused := plan.Decide(hosts, plan.Request{})
	err := MapError(refused)
	want(t, err, codes.Unavailable, plan.HostsJoining)
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok && r.GetRetryDelay().AsDuration() == joinRetry {
			return
		}
	}
	t.Errorf("%v does not say when to try again", err)
}
