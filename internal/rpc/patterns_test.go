package rpc

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

func TestEveryPatternOfTheProtosHasWords(t *testing.T) {
	files, err := filepath.Glob("../../proto/casemate/*/v1/*.proto")
	if err != nil || len(files) < 10 {
		t.Fatalf("found the protos %v, %v", files, err)
	}
	rule := regexp.MustCompile(`pattern: (".*")`)
	seen := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rule.FindAllStringSubmatch(string(text), -1) {
			pattern, err := strconv.Unquote(m[1])
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			seen[pattern] = true
			if patternWords[pattern] == "" {
				t.Errorf("%s has the pattern %s, and patternWords no words for it", file, pattern)
			}
		}
	}
	for pattern := range patternWords {
		if !seen[pattern] {
			t.Errorf("patternWords has %s, and no proto", pattern)
		}
	}
}

func TestABrokenPatternIsToldInWords(t *testing.T) {
	local, _ := serve(t)
	_, err := cv1.NewSecretServiceClient(local).CreateSecret(t.Context(), &cv1.CreateSecretRequest{Org: "acme", Name: "not-a-name", Value: []byte("v")})
	if text := Text(err); !strings.Contains(text, "name must be letters, digits and underscores") || strings.Contains(text, "regex") {
		t.Errorf("a bad name is answered with %q, want words", text)
	}
}
