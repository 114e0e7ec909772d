package attest_test

import (
	"os"
	"strings"
	"testing"
)

func TestTheDocsShowTheExamples(t *testing.T) {
	doc, err := os.ReadFile("../../docs/attestation.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(doc), "```go\n")[1:]
	if len(blocks) < 3 {
		t.Errorf("docs/attestation.md shows %d pieces of Go, want one for each kind of evidence", len(blocks))
	}
	for _, b := range blocks {
		code, _, _ := strings.Cut(b, "```")
		if !strings.Contains(string(examples), code) {
			t.Errorf("docs/attestation.md shows what is in no example:\n%s", code)
		}
	}
}
