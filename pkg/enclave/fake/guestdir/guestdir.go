// Package guestdir is the folder of one fake enclave: what the backend writes
// for the guest to run, and what the guest writes for whoever looks.
//
//	spec.pb      the spec's deterministic encoding, before the record
//	record.json  what it was started from; its presence makes the enclave exist
//	machine.json the simulated hardware (package vendors), before the record; not
//	             there if the guest has none
//	lock         held (flock) by the guest's process, so by nobody once it is gone
//	endpoint     host:port, once the guest listens
//	exit.json    how it ended
//	console.log  what the guest wrote; console.log.1 what it wrote before
//	wire/        what somebody on the host kept of the guest's connections, a file
//	             for each and its direction; only with the faults that say so
//
// Every file but lock, console and wire is replaced in one step. A reader takes none
// of them on trust.
package guestdir

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/atomicfile"
	"github.com/casemate-dev/casemate/pkg/attest/evidence/strictjson"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

// The files' names.
const (
	SpecFile     = "spec.pb"
	RecordFile   = "record.json"
	MachineFile  = "machine.json"
	LockFile     = "lock"
	EndpointFile = "endpoint"
	ExitFile     = "exit.json"
	ConsoleFile  = "console.log"
	OldConsole   = "console.log.1"
	WireFolder   = "wire"
)

// Bounds on what is read.
const (
	recordVersion = 1
	maxRecord     = 64 << 10
	maxSpec       = 4 << 20
	maxMachine    = 1 << 20
	maxLine       = 512
)

// Dir is an enclave's folder.
type Dir string

// Path is the path of a file in it.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// Record is what an enclave was started from, besides its spec.
type Record struct {
	// ID is the enclave's id; it equals the folder's name.
	ID string
	// SpecSHA256 is of SpecFile, lower-case hex.
	SpecSHA256 string
	// GPUs are the PCI addresses it was given.
	GPUs []string
	// ListenHost is the address the guest listens on.
	ListenHost string
	// Settings are the host's faults; see package faults.
	Settings map[string]string
	// StartTime is when it was started.
	StartTime time.Time
}

type recordWire struct {
	Version    int               `json:"version"`
	ID         string            `json:"id"`
	SpecSHA256 string            `json:"spec_sha256"`
	GPUs       []string          `json:"gpus"`
	ListenHost string            `json:"listen_host"`
	Settings   map[string]string `json:"settings"`
	StartTime  string            `json:"start_time"`
}

// WriteRecord writes spec and record; the record last, as it is what counts.
func (d Dir) WriteRecord(r Record, spec []byte) error {
	sum := sha256.Sum256(spec)
	w := recordWire{
		Version: recordVersion, ID: r.ID, SpecSHA256: hex.EncodeToString(sum[:]), GPUs: append([]string{}, r.GPUs...),
		ListenHost: r.ListenHost, Settings: r.Settings, StartTime: r.StartTime.UTC().Format(time.RFC3339Nano),
	}
	if w.Settings == nil {
		w.Settings = map[string]string{}
	}
	raw, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	if err := atomicfile.Write(d.Path(SpecFile), spec, 0o600); err != nil {
		return fmt.Errorf("write spec: %w", err)
	}
	if err := atomicfile.Write(d.Path(RecordFile), raw, 0o600); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// WriteMachine writes the simulated hardware.
func (d Dir) WriteMachine(machine []byte) error {
	if err := atomicfile.Write(d.Path(MachineFile), machine, 0o600); err != nil {
		return fmt.Errorf("write machine: %w", err)
	}
	return nil
}

// ReadMachine reads the simulated hardware, nil if there is none.
func (d Dir) ReadMachine() ([]byte, error) {
	raw, err := readBounded(d.Path(MachineFile), maxMachine)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read machine: %w", err)
	}
	return raw, nil
}

// ReadRecord reads record and spec and checks them against each other and
// against the folder's name.
func (d Dir) ReadRecord() (Record, *agentv1.EnclaveSpec, error) {
	raw, err := readBounded(d.Path(RecordFile), maxRecord)
	if err != nil {
		return Record{}, nil, fmt.Errorf("read record: %w", err)
	}
	r, err := parseRecord(raw)
	if err != nil {
		return Record{}, nil, fmt.Errorf("record of %s: %w", d, err)
	}
	if r.ID != filepath.Base(string(d)) {
		return Record{}, nil, fmt.Errorf("record of %s: it is that of enclave %.140q", d, r.ID)
	}
	encoded, err := readBounded(d.Path(SpecFile), maxSpec)
	if err != nil {
		return Record{}, nil, fmt.Errorf("read spec: %w", err)
	}
	if sum := sha256.Sum256(encoded); hex.EncodeToString(sum[:]) != r.SpecSHA256 {
		return Record{}, nil, fmt.Errorf("spec of %s: it is not the one that was recorded", d)
	}
	spec := &agentv1.EnclaveSpec{}
	if err := proto.Unmarshal(encoded, spec); err != nil {
		return Record{}, nil, fmt.Errorf("spec of %s: %w", d, err)
	}
	return r, spec, nil
}

func parseRecord(raw []byte) (Record, error) {
	r := Record{Settings: map[string]string{}}
	var version int
	var start string
	err := strictjson.Object(raw, maxRecord, strictjson.Fields{
		"version":     strictjson.Integer(&version, 1<<20),
		"id":          strictjson.String(&r.ID, 128),
		"spec_sha256": strictjson.String(&r.SpecSHA256, 64),
		"gpus":        strictjson.List(&r.GPUs, 64, func(s *string) func(json.RawMessage) error { return strictjson.String(s, 32) }),
		"listen_host": strictjson.String(&r.ListenHost, 253),
		"start_time":  strictjson.String(&start, 64),
		"settings": func(raw json.RawMessage) error {
			return strictjson.Map(raw, maxRecord, 16, func(name string, value json.RawMessage) error {
				var s string
				if err := strictjson.String(&s, maxLine)(value); err != nil {
					return err
				}
				r.Settings[name] = s
				return nil
			})
		},
	}, "version", "id", "spec_sha256", "gpus", "listen_host", "settings", "start_time")
	if err != nil {
		return r, err
	}
	if version != recordVersion {
		return r, fmt.Errorf("version %d is not supported", version)
	}
	if r.StartTime, err = time.Parse(time.RFC3339Nano, start); err != nil {
		return r, fmt.Errorf("start time: %w", err)
	}
	return r, enclave.CheckID(r.ID)
}

// Wire makes a file of this name in the wire folder, for its caller to close.
func (d Dir) Wire(name string) (*os.File, error) {
	if err := os.Mkdir(d.Path(WireFolder), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("keep what was read: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(d.Path(WireFolder), name), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep what was read: %w", err)
	}
	return f, nil
}

// WriteEndpoint writes where the guest listens.
func (d Dir) WriteEndpoint(endpoint string) error {
	return atomicfile.Write(d.Path(EndpointFile), []byte(endpoint+"\n"), 0o600)
}

// ReadEndpoint reads where the guest listens; empty if it does not yet.
func (d Dir) ReadEndpoint() (string, error) {
	line, err := d.readLine(EndpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if _, _, err := net.SplitHostPort(line); err != nil {
		return "", fmt.Errorf("endpoint of %s: %w", d, err)
	}
	return line, nil
}

type exitWire struct {
	Reason string `json:"reason"`
	Text   string `json:"text"`
	Time   string `json:"time"`
}

// WriteExit records how the enclave ended.
func (d Dir) WriteExit(e enclave.Exit) error {
	raw, err := json.Marshal(exitWire{e.Reason, clip(e.Text), e.Time.UTC().Format(time.RFC3339Nano)})
	if err != nil {
		return fmt.Errorf("encode exit: %w", err)
	}
	return atomicfile.Write(d.Path(ExitFile), raw, 0o600)
}

// ReadExit reads how the enclave ended; fs.ErrNotExist if nobody recorded it.
func (d Dir) ReadExit() (enclave.Exit, error) {
	var e enclave.Exit
	var at string
	raw, err := readBounded(d.Path(ExitFile), maxRecord)
	if err != nil {
		return e, fmt.Errorf("read exit: %w", err)
	}
	err = strictjson.Object(raw, maxRecord, strictjson.Fields{
		"reason": strictjson.String(&e.Reason, 64),
		"text":   strictjson.String(&e.Text, maxText),
		"time":   strictjson.String(&at, 64),
	}, "reason", "text", "time")
	if err != nil {
		return e, fmt.Errorf("exit of %s: %w", d, err)
	}
	if e.Time, err = time.Parse(time.RFC3339Nano, at); err != nil {
		return e, fmt.Errorf("exit of %s: %w", d, err)
	}
	return e, nil
}

const maxText = 4 << 10

func clip(s string) string {
	if len(s) > maxText/2 {
		return s[:maxText/2]
	}
	return s
}

func (d Dir) readLine(name string) (string, error) {
	raw, err := readBounded(d.Path(name), maxLine)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	if n := len(raw); n > 0 && raw[n-1] == '\n' {
		raw = raw[:n-1]
	}
	return string(raw), nil
}

// readBounded reads a regular file of at most limit bytes. It does not wait for
// a pipe that somebody put in its place.
func readBounded(path string, limit int64) (raw []byte, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	raw, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return raw, err
}
