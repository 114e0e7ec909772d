// casemate-sign-pkcs11 signs with a key in a PKCS#11 token: an HSM, a smart card, a
// TPM, or SoftHSM. It speaks the protocol of casemate release sign --signer-command,
// which package pkg/release/execsigner of the main module documents. It is a module of its own, because
// PKCS#11 libraries are loaded by cgo, which nothing else here needs.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "casemate-sign-pkcs11:", err)
		os.Exit(1)
	}
}
