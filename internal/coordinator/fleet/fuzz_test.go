package fleet

import (
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// An agent may say anything of an enclave; what is kept of it is bounded, and
// text.
func FuzzObservation(f *testing.F) {
	for _, e := range []*agentv1.Enclave{
		{},
		{
			Id: "c1-r1-1", State: agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY, Endpoint: "10.0.0.1:20443", Reason: "OK", Text: "fine",
			Stages: []*agentv1.BootStage{{Name: "config", Status: agentv1.StageStatus_STAGE_STATUS_OK, Reason: "read"}},
		},
		{Id: "c1-r1-1", State: 77, Stages: []*agentv1.BootStage{{Status: 99}, nil}},
	} {
		data, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := &agentv1.Enclave{}
		if proto.Unmarshal(data, e) != nil {
			return
		}
		o := Observation("h1", "i1", e)
		if o.Host != "h1" || len(o.Text) > maxText || len(o.Stages) > maxStages || len(o.Endpoint) > 256 || len(o.Reason) > 64 {
			t.Errorf("more is kept than there is room for: %+v", o)
		}
		for _, text := range []string{o.Text, o.Reason, o.Endpoint} {
			if !utf8.ValidString(text) {
				t.Errorf("%q is no text", text)
			}
		}
	})
}
