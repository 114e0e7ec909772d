// Package sigstoretest is a Sigstore for tests: a CA, a certificate transparency
// log and a transparency log with keys of their own, which make the bundles that
// cosign sign-blob --bundle writes, and the trusted root to verify them by. It uses
// the standard library only, so that whoever verifies what it makes shares no code
// with it.
package sigstoretest
