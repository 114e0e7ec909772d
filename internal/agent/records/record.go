package records

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

// Record is what the agent knows of one enclave through restarts.
type Record struct {
	// ID is the enclave's id; see enclave.CheckID.
	ID string
	// ClusterID is the cluster that wants it, or wanted it stopped.
	ClusterID string
	// Spec is what runs; nil for a tombstone: an enclave that was stopped before
	// it was created.
	Spec *agentv1.EnclaveSpec
	// SpecDigest is enclave.SpecDigest of Spec; empty for a tombstone.
	SpecDigest string
	// State is the last state. Reason and Text say why it is what it is.
	State        agentv1.EnclaveState
	Reason, Text string
	// GPUs are the PCI addresses it was given.
	GPUs []string
	// Mode is the mode that the cards must be brought to before it starts; empty
	// if they are in it, or were brought there.
	Mode string
	// StopBy is when its guest must have powered off by; it is killed then. Zero
	// as long as nobody has asked for it to be stopped.
	StopBy time.Time
	// WasHealthy says whether it ever was healthy.
	WasHealthy bool
	// Created and Changed are when it was created and when State last changed.
	Created, Changed time.Time
}

// Tombstone says whether the enclave was stopped before it was created.
func (r Record) Tombstone() bool { return r.Spec == nil }

// StopAsked says whether somebody asked for it to be stopped.
func (r Record) StopAsked() bool { return !r.StopBy.IsZero() }

// Ended says whether the state is an end: nothing runs, or is to run, any more.
func (r Record) Ended() bool {
	return r.State == agentv1.EnclaveState_ENCLAVE_STATE_STOPPED || r.State == agentv1.EnclaveState_ENCLAVE_STATE_FAILED
}

// version is that of the format.
const version = 1

// Bounds on a record. The spec is bounded by its own encoding.
const (
	maxFile   = 8 << 20
	maxText   = 8 << 10
	maxReason = 64
	maxGPUs   = 64
)

// wire is a record's file.
type wire struct {
	Version    int       `json:"version"`
	ID         string    `json:"id"`
	ClusterID  string    `json:"cluster_id"`
	State      string    `json:"state"`
	Reason     string    `json:"reason"`
	Text       string    `json:"text"`
	SpecDigest string    `json:"spec_digest"`
	GPUs       []string  `json:"gpus"`
	Mode       string    `json:"mode"`
	StopBy     time.Time `json:"stop_by,omitzero"`
	WasHealthy bool      `json:"was_healthy"`
	Created    time.Time `json:"created"`
	Changed    time.Time `json:"changed"`
	Spec       []byte    `json:"spec"`
}

const statePrefix = "ENCLAVE_STATE_"

// encode writes a record. It refuses what decode would refuse.
func encode(r Record) ([]byte, error) {
	w := wire{
		Version: version, ID: r.ID, ClusterID: r.ClusterID, SpecDigest: r.SpecDigest,
		State: strings.TrimPrefix(r.State.String(), statePrefix), Reason: clip(r.Reason, maxReason), Text: clip(r.Text, maxText),
		GPUs: append([]string{}, r.GPUs...), Mode: r.Mode,
		StopBy: r.StopBy.UTC(), WasHealthy: r.WasHealthy,
		Created: r.Created.UTC(), Changed: r.Changed.UTC(),
	}
	if r.Spec != nil {
		raw, err := enclave.EncodeSpec(r.Spec)
		if err != nil {
			return nil, err
		}
		w.Spec = raw
	}
	text, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	if _, err := decode(text); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return append(text, '\n'), nil
}

// decode reads a record strictly: one JSON document of the known version, no
// unknown members, the spec's digest right.
func decode(text []byte) (Record, error) {
	if len(text) > maxFile {
		return Record{}, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	var w wire
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return Record{}, fmt.Errorf("it can't be read: %w", err)
	}
	if d.More() {
		return Record{}, errors.New("something follows it")
	}
	if w.Version != version {
		return Record{}, fmt.Errorf("it has version %d; this agent reads version %d", w.Version, version)
	}
	return w.record()
}

func (w wire) record() (Record, error) {
	state := agentv1.EnclaveState_value[statePrefix+w.State]
	r := Record{
		ID: w.ID, ClusterID: w.ClusterID, SpecDigest: w.SpecDigest,
		State: agentv1.EnclaveState(state), Reason: w.Reason, Text: w.Text, GPUs: w.GPUs, Mode: w.Mode,
		StopBy: w.StopBy, WasHealthy: w.WasHealthy,
		Created: w.Created, Changed: w.Changed,
	}
	if err := enclave.CheckID(r.ID); err != nil {
		return Record{}, err
	}
	switch {
	case state == 0:
		return Record{}, fmt.Errorf("state %.40q is not known", w.State)
	case len(r.Reason) > maxReason || len(r.Text) > maxText || len(r.GPUs) > maxGPUs || len(r.ClusterID) > 64:
		return Record{}, errors.New("a field is longer than it may be")
	case len(w.Spec) == 0:
		if !r.Ended() || r.SpecDigest != "" {
			return Record{}, errors.New("it has no spec and is no tombstone")
		}
		return r, nil
	}
	err := w.spec(&r)
	return r, err
}

// spec reads the spec and checks its digest.
func (w wire) spec(r *Record) error {
	r.Spec = &agentv1.EnclaveSpec{}
	if err := proto.Unmarshal(w.Spec, r.Spec); err != nil {
		return fmt.Errorf("its spec can't be read: %w", err)
	}
	digest, err := enclave.SpecDigest(r.Spec)
	if err != nil {
		return err
	}
	if digest != r.SpecDigest {
		return fmt.Errorf("its spec has digest %s, it names %.64q", digest, r.SpecDigest)
	}
	return nil
}

func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
