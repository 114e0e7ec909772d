package api

import (
	"testing"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

func TestAContainerIsAttestedOnDemand(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	ask := func(name string) (*cv1.AttestContainerResponse, error) {
		return c.containers.AttestContainer(t.Context(), &cv1.AttestContainerRequest{Org: "acme", Name: name})
	}
	for name, accepted := range map[string]bool{"trusted": true, "refused": false} {
		got := c.deploy(name)
		r, err := ask(name)
		if err != nil {
			t.Fatal(err)
		}
		if r.GetEnclave() != got.GetActiveEnclave() || r.GetHost() != "h1" {
			t.Errorf("%s: %s on %s was asked, want %s", name, r.GetEnclave(), r.GetHost(), got.GetActiveEnclave())
		}
		if v := r.GetVerdict(); v.GetAccepted() != accepted || len(v.GetChecks()) != 1 || v.GetChecks()[0].GetOk() != accepted {
			t.Errorf("%s: the verdict is %v", name, v)
		}
	}
	c.deploy("walled")
	_, err := ask("walled")
	want(t, err, codes.Unavailable, "NO_EVIDENCE")
	_, err = ask("nobody")
	want(t, err, codes.NotFound, "NO_SUCH_CONTAINER")
}
