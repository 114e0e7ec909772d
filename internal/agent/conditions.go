package agent

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// The codes of conditions that this package reports. GPUs have codes of the form
// GPU_ and the reason, such as GPU_MIG; what the inventory finds has its own.
const (
	// CodeGuestSilent: the guest does not answer.
	CodeGuestSilent = "GUEST_SILENT"
	// CodeAttestationFailed: evidence that was asked for again was refused.
	CodeAttestationFailed = "ATTESTATION_FAILED"
	// CodeStopStuck: the enclave can't be stopped.
	CodeStopStuck = "STOP_STUCK"
	// CodeReleaseFailed: the claim can't be released.
	CodeReleaseFailed = "RELEASE_FAILED"
	// CodeRecordUnwritten: what is known of the enclave can't be written down.
	CodeRecordUnwritten = "RECORD_UNWRITTEN"
	// CodeNoRecord: the enclave runs and the agent had no record of it.
	CodeNoRecord = "NO_RECORD"
	// CodeForeign: the enclave belongs to another cluster.
	CodeForeign = "FOREIGN_ENCLAVE"
	// CodeInsecure: the enclave protects nothing.
	CodeInsecure = "INSECURE"
	// CodeInsecureAllowed: the configuration accepts enclaves that protect nothing.
	CodeInsecureAllowed = "INSECURE_ALLOWED"
	// CodeInventoryFailed: the GPUs can't be listed.
	CodeInventoryFailed = "INVENTORY_FAILED"
	// CodeTEEMissing: the configured technology does not work here.
	CodeTEEMissing = "TEE_MISSING"
	// CodeBackendUnavailable: the backend does not answer.
	CodeBackendUnavailable = "BACKEND_UNAVAILABLE"
	// CodeRecordCorrupt: a record was damaged and set aside.
	CodeRecordCorrupt = "RECORD_CORRUPT"
	// CodeFenceLost: the record of the cluster that is followed was damaged.
	CodeFenceLost = "FENCE_LOST"
	// CodeStarting: what runs here has not been compared with the records yet, or the
	// GPUs not looked at.
	CodeStarting = "STARTING"
	// CodeLedgerFailed: the ledger of claims can't be read.
	CodeLedgerFailed = "LEDGER_FAILED"
)

// condition is what is reported, by code and subject.
type condition struct {
	code, subject string
	severity      agentv1.Severity
	text          string
	// since is when it began; zero means when it was first reported.
	since time.Time
	// visible is how long it must hold before it is told, hold how long it is told
	// after it ended: what comes and goes is one condition, not many.
	visible, hold time.Duration
}

type conditionKey struct{ code, subject string }

// standing is a condition that holds, or held until ended.
type standing struct {
	condition
	ended time.Time
}

// conditionSet is the conditions of a host or an enclave.
type conditionSet struct {
	now func() time.Time

	mu  sync.Mutex // guards all below
	all map[conditionKey]standing
}

func newConditionSet(now func() time.Time) *conditionSet {
	return &conditionSet{now: now, all: map[conditionKey]standing{}}
}

// set reports that a condition holds. One that holds already keeps its time.
func (s *conditionSet) set(c condition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := conditionKey{c.code, c.subject}
	if old, ok := s.all[key]; ok {
		c.since = old.since
	} else if c.since.IsZero() {
		c.since = s.now()
	}
	s.all[key] = standing{condition: c}
}

// clear reports that a condition does not hold.
func (s *conditionSet) clear(code, subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := conditionKey{code, subject}
	c, ok := s.all[key]
	if ok && c.ended.IsZero() {
		c.ended = s.now()
		s.all[key] = c
	}
}

// replace reports the conditions of a source, told by prefix of the code or by
// any other rule, which are all there are: others of it end.
func (s *conditionSet) replace(ours func(code string) bool, list []condition) {
	for _, c := range list {
		s.set(c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, c := range s.all {
		gone := !slices.ContainsFunc(list, func(l condition) bool { return l.code == key.code && l.subject == key.subject })
		if ours(key.code) && gone && c.ended.IsZero() {
			c.ended = s.now()
			s.all[key] = c
		}
	}
}

// list returns what is to be told now, by code and subject.
func (s *conditionSet) list() []*agentv1.Condition {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var out []*agentv1.Condition
	for key, c := range s.all {
		ended := !c.ended.IsZero()
		if ended && (now.Sub(c.ended) >= c.hold || c.ended.Sub(c.since) < c.visible) {
			delete(s.all, key)
			continue
		}
		if now.Sub(c.since) < c.visible {
			continue
		}
		out = append(out, &agentv1.Condition{
			Code: c.code, Severity: c.severity, Text: c.text, Subject: c.subject, Since: timestamppb.New(c.since),
		})
	}
	slices.SortFunc(out, func(a, b *agentv1.Condition) int {
		return cmp.Or(cmp.Compare(a.GetCode(), b.GetCode()), cmp.Compare(a.GetSubject(), b.GetSubject()))
	})
	return out
}
