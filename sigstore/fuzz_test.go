package main

import (
	"testing"

	"github.com/casemate-dev/casemate/pkg/release/sigstore/sigstoretest"
)

// FuzzBundle: no bundle, whatever its bytes, is accepted in the name of somebody who
// never signed, and none brings the program down.
func FuzzBundle(f *testing.F) {
	s, root := instance(f)
	verifier, err := newVerifier(root)
	if err != nil {
		f.Fatal(err)
	}
	for flaw := sigstoretest.None; flaw <= sigstoretest.OtherTree; flaw++ {
		f.Add(bundleBy(f, s, workflow, flaw))
	}
	f.Fuzz(func(t *testing.T, bundle []byte) {
		if a := judge(verifier, question(root, bundle, person)); a.Accepted || a.Reason == "" {
			t.Errorf("%+v, want a refusal: %s never signed", a, person)
		}
		if a := judge(verifier, question(root, bundle, workflow)); a.Accepted == (a.Reason != "") || a.Accepted && a.Identity != workflow {
			t.Errorf("%+v contradicts itself", a)
		}
	})
}
