package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of an event log; a real one has some hundred events in 64 KiB.
const (
	maxLog        = 16 << 20
	maxEvents     = 1 << 16
	maxAlgorithms = 8
)

// algSHA384 is TPM_ALG_SHA384 (TCG algorithm registry).
const algSHA384 = 0x000C

// EventType is the type of an event (PFP table 27).
type EventType uint32

// The types of event that matter here.
const (
	EventNoAction          EventType = 0x00000003
	EventSeparator         EventType = 0x00000004
	EventTag               EventType = 0x00000006
	EventVariableConfig    EventType = 0x80000001
	EventBootApplication   EventType = 0x80000003
	EventAction            EventType = 0x80000007
	EventVariableAuthority EventType = 0x800000E0
)

// Event is one entry of the log.
type Event struct {
	// Register is 0 for MRTD, 1 to 4 for RTMR0 to RTMR3 (UEFI section 38.4.1).
	Register uint32
	// Type says what was measured.
	Type EventType
	// Digest is the SHA-384 that the register was extended by.
	Digest Digest
	// Content describes what was measured; for some types it is what was measured.
	Content []byte
}

// ErrEventLog tells that an event log is malformed.
var ErrEventLog = errors.New("malformed event log")

// logReader reads little-endian values, and remembers that it ran out.
type logReader struct {
	b   []byte
	err error
}

func (r *logReader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)) {
		r.err = fmt.Errorf("%w: %d bytes wanted, %d are left", ErrEventLog, n, len(r.b))
	}
	if r.err != nil {
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *logReader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *logReader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *logReader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// ParseEventLog reads a crypto-agile event log (PFP section 10), such as the CCEL
// table's area: up to its end, or to the filling of the area, all zeros or all ones.
// Every event must have a SHA-384. The log is the guest's own word: it means
// something only once [Replay] gives the registers of a verified quote.
func ParseEventLog(b []byte) ([]Event, error) {
	if len(b) > maxLog {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrEventLog, len(b), maxLog)
	}
	r := &logReader{b: b}
	sizes, err := readSpecID(r)
	if err != nil {
		return nil, err
	}
	var events []Event
	for len(r.b) > 0 && !filling(r.b) {
		if len(events) == maxEvents {
			return nil, fmt.Errorf("%w: more than %d events", ErrEventLog, maxEvents)
		}
		e, err := readEvent(r, sizes)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", len(events), err)
		}
		events = append(events, e)
	}
	return events, nil
}

// filling tells whether nothing but one filler is left.
func filling(b []byte) bool {
	if b[0] != 0 && b[0] != 0xFF {
		return false
	}
	for _, x := range b {
		if x != b[0] {
			return false
		}
	}
	return true
}

// readSpecID reads the first event, in the old SHA-1 form, which lists the digests'
// sizes (PFP table 24, TCG_EfiSpecIDEvent).
func readSpecID(r *logReader) (map[uint16]int, error) {
	_, kind, _ := r.u32(), r.u32(), r.take(20)
	content := &logReader{b: r.take(int(r.u32()))}
	signature := string(content.take(16))
	content.take(4 + 4) // platform class, version, errata, size of UINTN
	count := content.u32()
	if r.err != nil || content.err != nil || EventType(kind) != EventNoAction || signature != "Spec ID Event03\x00" {
		return nil, fmt.Errorf("%w: it doesn't start with a specification id", ErrEventLog)
	}
	if count == 0 || count > maxAlgorithms {
		return nil, fmt.Errorf("%w: %d digest algorithms", ErrEventLog, count)
	}
	sizes := make(map[uint16]int, count)
	for range count {
		alg, size := content.u16(), content.u16()
		if _, twice := sizes[alg]; twice {
			return nil, fmt.Errorf("%w: algorithm 0x%x stands twice", ErrEventLog, alg)
		}
		sizes[alg] = int(size)
	}
	content.take(int(content.u8())) // vendor's own
	if content.err != nil || len(content.b) != 0 {
		return nil, fmt.Errorf("%w: specification id of another length", ErrEventLog)
	}
	if sizes[algSHA384] != len(Digest{}) {
		return nil, fmt.Errorf("%w: it has no SHA-384 digests", ErrEventLog)
	}
	return sizes, nil
}

// readEvent reads one event (PFP table 21, TCG_PCR_EVENT2).
func readEvent(r *logReader, sizes map[uint16]int) (Event, error) {
	e := Event{Register: r.u32(), Type: EventType(r.u32())}
	count := r.u32()
	if r.err == nil && int64(count) != int64(len(sizes)) {
		return e, fmt.Errorf("%w: %d digests, want %d", ErrEventLog, count, len(sizes))
	}
	seen := map[uint16]bool{}
	for range len(sizes) {
		alg := r.u16()
		size, known := sizes[alg]
		if r.err == nil && (!known || seen[alg]) {
			return e, fmt.Errorf("%w: unknown or double digest algorithm 0x%x", ErrEventLog, alg)
		}
		seen[alg] = true
		d := r.take(size)
		if alg == algSHA384 {
			copy(e.Digest[:], d)
		}
	}
	e.Content = r.take(int(r.u32()))
	if r.err == nil && e.Register > 4 {
		return e, fmt.Errorf("%w: register %d, want 0 to 4", ErrEventLog, e.Register)
	}
	return e, r.err
}

// Replay returns the RTMRs that a log's events lead to. Events of type no-action
// extend nothing; an event for MRTD, which can't be extended, is refused.
func Replay(events []Event) ([4]Digest, error) {
	var rtmr [4]Digest
	for i, e := range events {
		if e.Type == EventNoAction {
			continue
		}
		if e.Register < 1 || e.Register > 4 {
			return rtmr, fmt.Errorf("%w: event %d extends register %d, want 1 to 4", ErrEventLog, i, e.Register)
		}
		rtmr[e.Register-1] = rtmr[e.Register-1].extend(e.Digest)
	}
	return rtmr, nil
}

// ContentMeasured tells whether the event's digest covers its content, by its type;
// of the others, the content is only a description that nothing vouches for.
func (e Event) ContentMeasured() bool {
	switch e.Type {
	case EventSeparator, EventVariableConfig, EventAction, EventVariableAuthority:
		return true
	}
	return false
}

// CheckContent refuses an event whose digest should cover its content and doesn't.
func (e Event) CheckContent() error {
	if !e.ContentMeasured() || sum(e.Content) == e.Digest {
		return nil
	}
	return fmt.Errorf("%w: event of type 0x%x has the digest %v, its content %v", ErrEventLog, uint32(e.Type), e.Digest, sum(e.Content))
}
