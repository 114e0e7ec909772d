package enclave

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

func instance() Instance {
	return Instance{
		ID: "abc-r1-1", GPUs: []string{"0000:17:00.0"},
		Spec: &agentv1.EnclaveSpec{Org: "o", Container: "c", Gpus: 1, Platform: &agentv1.Platform{
			ClusterId: "c", Variables: map[string]string{"A": "1", "B": "2", "C": "3"},
		}},
	}
}

func TestSpecDigestDoesNotDependOnMapOrder(t *testing.T) {
	want, err := SpecDigest(instance().Spec)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if got, err := SpecDigest(instance().Spec); err != nil || got != want {
			t.Fatalf("digest %s, %v; expected %s", got, err, want)
		}
	}
	other := instance().Spec
	other.Platform.Variables["A"] = "2"
	if got, err := SpecDigest(other); err != nil || got == want {
		t.Errorf("another variable gives the same digest (%v)", err)
	}
}

func TestSpecBeyondItsBoundIsRefused(t *testing.T) {
	spec := instance().Spec
	spec.Config = make([]byte, maxSpec)
	if _, err := SpecDigest(spec); err == nil {
		t.Error("a spec beyond the bound has a digest")
	}
}

func TestInstanceCheck(t *testing.T) {
	for rule, c := range map[string]struct {
		change func(*Instance)
		want   string
	}{
		"a whole one is accepted":       {func(*Instance) {}, ""},
		"an id that leaves its folder":  {func(in *Instance) { in.ID = "../x" }, "enclave id"},
		"an empty id":                   {func(in *Instance) { in.ID = "" }, "enclave id"},
		"an id of 129 characters":       {func(in *Instance) { in.ID = strings.Repeat("a", 129) }, "enclave id"},
		"no spec":                       {func(in *Instance) { in.Spec = nil }, "no platform part"},
		"no platform":                   {func(in *Instance) { in.Spec.Platform = nil }, "no platform part"},
		"fewer GPUs than the spec says": {func(in *Instance) { in.GPUs = nil }, "0 GPUs were claimed"},
		"a GPU that is no PCI address":  {func(in *Instance) { in.GPUs[0] = "gpu0" }, "not a PCI address"},
		"one GPU twice": {func(in *Instance) {
			in.GPUs, in.Spec.Gpus = []string{in.GPUs[0], in.GPUs[0]}, 2
		}, "given twice"},
	} {
		t.Run(rule, func(t *testing.T) {
			in := instance()
			c.change(&in)
			err := in.Check()
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || ReasonOf(err) != ReasonInvalidSpec {
				t.Errorf("error is %v, expected %s saying %q", err, ReasonInvalidSpec, c.want)
			}
		})
	}
}

func TestReasonOfLooksThroughWrapping(t *testing.T) {
	err := fmt.Errorf("prepare: %w", &Error{Reason: ReasonImageMissing, Text: "no image", Err: ErrNotFound})
	if ReasonOf(err) != ReasonImageMissing || !errors.Is(err, ErrNotFound) {
		t.Errorf("reason is %q of %v", ReasonOf(err), err)
	}
	if ReasonOf(errors.New("x")) != "" {
		t.Error("an error without a reason has one")
	}
}
