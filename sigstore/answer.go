package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// maxQuestion bounds a question: three byte strings in base64, and identities.
const maxQuestion = 6 << 20

// run reads a question, answers it, and fails only if it is none.
func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) > 0 {
		return errors.New("it takes no arguments: the coordinator and casemate release verify ask it on stdin")
	}
	q, err := read(in)
	if err != nil {
		return fmt.Errorf("read the question: %w", err)
	}
	a, err := answer(q)
	if err != nil {
		return err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if _, err := out.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// read reads a question strictly.
func read(in io.Reader) (sigstore.Request, error) {
	var q sigstore.Request
	raw, err := io.ReadAll(io.LimitReader(in, maxQuestion+1))
	if err != nil {
		return q, err
	}
	if len(raw) > maxQuestion {
		return q, fmt.Errorf("more than %d bytes", maxQuestion)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return q, err
	}
	if len(bytes.TrimSpace(raw[d.InputOffset():])) > 0 {
		return q, errors.New("there is more than one question")
	}
	if q.Version != sigstore.Version {
		return q, fmt.Errorf("version %d of the protocol, this program speaks %d: install both from one release", q.Version, sigstore.Version)
	}
	if len(q.Artifact) > sigstore.MaxArtifactBytes || len(q.TrustedRoot) > sigstore.MaxTrustedRootBytes {
		return q, fmt.Errorf("artifact and trusted root have %d and %d bytes, at most %d and %d are read",
			len(q.Artifact), len(q.TrustedRoot), sigstore.MaxArtifactBytes, sigstore.MaxTrustedRootBytes)
	}
	if len(q.Identities) == 0 || len(q.Identities) > sigstore.MaxIdentities {
		return q, fmt.Errorf("%d identities, want 1 to %d", len(q.Identities), sigstore.MaxIdentities)
	}
	for _, i := range q.Identities {
		if err := i.Check(); err != nil {
			return q, err
		}
	}
	return q, nil
}
