// casemate-sigstore verifies Sigstore bundles for the coordinator and the command
// line: one question on stdin, one answer on stdout, no arguments, no network. The
// protocol is documented in package pkg/release/sigstore. It is a module of its own,
// because Sigstore's libraries bring more than all of Casemate otherwise needs.
package main

import (
	"fmt"
	"os"
	"time"
)

// patience bounds a question's time, should whoever asked be gone.
const patience = time.Minute

func main() {
	time.AfterFunc(patience, func() {
		fmt.Fprintln(os.Stderr, "casemate-sigstore: no answer within", patience)
		os.Exit(2)
	})
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "casemate-sigstore:", err)
		os.Exit(2)
	}
}
