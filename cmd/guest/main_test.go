package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/guest/tsm"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
)

func TestArguments(t *testing.T) {
	for rule, c := range map[string]struct {
		args []string
		want string
	}{
		"nothing":          {nil, "--simulated"},
		"no folder":        {[]string{"--simulated"}, "--dir"},
		"a stray argument": {[]string{"--simulated", "--dir", "x", "y"}, `unexpected argument "y"`},
		"an unknown flag":  {[]string{"--secure"}, "not defined"},
		"a missing folder": {[]string{"--simulated", "--dir", "/nonexistent/enclave"}, "open console"},
		"a bad nonce":      {[]string{"--evidence", "00"}, "nonce"},
		"a bad grace":      {[]string{"--grace", "soon"}, "invalid value"},
	} {
		var stderr strings.Builder
		err := run(t.Context(), c.args, io.Discard, &stderr)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected it to say %q", rule, err, c.want)
		}
	}
	var stderr strings.Builder
	if err := run(t.Context(), []string{"-h"}, io.Discard, &stderr); err != nil || !strings.Contains(stderr.String(), "-dir") {
		t.Errorf("help: %v, %q", err, stderr.String())
	}
}

func TestEvidenceOfThisMachine(t *testing.T) {
	var out, stderr strings.Builder
	err := run(t.Context(), []string{"--gpus=false", "--evidence", strings.Repeat("0a", 32)}, &out, &stderr)
	switch {
	case err == nil:
		if _, err := evidence.Parse([]byte(strings.TrimSpace(out.String()))); err != nil {
			t.Errorf("this machine has a TEE, and prints no document: %v", err)
		}
	case !errors.Is(err, tsm.ErrNoTEE):
		t.Errorf("error %v, want that there is no TEE", err)
	case out.Len() > 0:
		t.Errorf("printed %q all the same", out.String())
	}
}
