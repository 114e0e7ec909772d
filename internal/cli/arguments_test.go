package cli

import (
	"strings"
	"testing"
)

func TestAWrongNumberOfArgumentsIsToldByName(t *testing.T) {
	for line, want := range map[string]string{
		"container get":             "NAME is missing",
		"container template":        "SOURCE is missing",
		"container template a":      "NEWNAME is missing",
		"container get a b":         `"b" is one argument too many`,
		"host list extra":           `"extra" is one argument too many`,
		"container update status":   "NAME is missing",
		"container events a b":      `"b" is one argument too many`,
		"container create":          "NAME is missing",
		"config check":              "FILE is missing",
		"secret set KEY value more": `"value" is one argument too many`,
	} {
		t.Run(line, func(t *testing.T) {
			w := newWorld(t, newFleet())
			if code := w.run(t, strings.Fields(line)...); code != ExitUsage || !strings.HasPrefix(w.err.String(), "casemate: "+want+"\n") {
				t.Errorf("exit code %d, %q, want %d and %q", code, &w.err, ExitUsage, want)
			}
		})
	}
}
