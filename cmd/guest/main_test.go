package main

import (
	"strings"
	"testing"
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
		"a bad grace":      {[]string{"--grace", "soon"}, "invalid value"},
	} {
		var stderr strings.Builder
		err := run(t.Context(), c.args, &stderr)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected it to say %q", rule, err, c.want)
		}
	}
	var stderr strings.Builder
	if err := run(t.Context(), []string{"-h"}, &stderr); err != nil || !strings.Contains(stderr.String(), "-dir") {
		t.Errorf("help: %v, %q", err, stderr.String())
	}
}
