// Package sigstore verifies Sigstore bundles by asking casemate-sigstore, a program
// of its own: Sigstore's libraries are large, and neither the daemons nor the
// command line should carry them.
//
// The program is started once for each question. It reads one JSON object
// ([Request]) from stdin, writes one ([Answer]) to stdout, and ends with 0 if it
// has an answer. It opens no connection and reads no file: artifact, bundle and
// trusted root are in the question. Whoever asks bounds its time and its answer,
// and gives it no environment.
package sigstore
