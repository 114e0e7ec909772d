package judge

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is a SHA-384, as all measurements are.
type Digest = [48]byte

// Measurement is one launch that is expected.
type Measurement struct {
	// Launch is MEASUREMENT of an SEV-SNP report, MRTD of a TDX quote, or the
	// measurement of a simulated launch.
	Launch Digest
	// RTMR are RTMR0 to RTMR2 of a TDX quote. Where one is nil, a quote is only
	// accepted if the policy pins that register, or says any. Without any of them, a
	// quote under a simulated root must have those of simulated.Registers.
	RTMR [3]*Digest
}

// separator stands between the registers of a TDX launch.
const separator = ":"

// ParseMeasurement reads a launch digest of 96 lower-case hex digits; for TDX, MRTD
// and RTMR0 to RTMR2 with colons between them, where a register that is not known
// is left empty: "mrtd::rtmr1:rtmr2".
func ParseMeasurement(text string) (Measurement, error) {
	var m Measurement
	parts := strings.Split(text, separator)
	if len(parts) != 1 && len(parts) != 1+len(m.RTMR) {
		return m, fmt.Errorf("measurement %.100q: want a launch digest, or MRTD and three RTMRs with colons between", text)
	}
	if err := readDigest(&m.Launch, parts[0]); err != nil {
		return m, err
	}
	for i, part := range parts[1:] {
		if part == "" {
			continue
		}
		m.RTMR[i] = new(Digest)
		if err := readDigest(m.RTMR[i], part); err != nil {
			return m, err
		}
	}
	return m, nil
}

func readDigest(to *Digest, text string) error {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(to) || hex.EncodeToString(raw) != text {
		return fmt.Errorf("measurement %.100q: want %d lower-case hex digits", text, 2*len(to))
	}
	copy(to[:], raw)
	return nil
}

// String writes what ParseMeasurement reads.
func (m Measurement) String() string {
	out := hex.EncodeToString(m.Launch[:])
	if m.RTMR == [3]*Digest{} {
		return out
	}
	for _, r := range m.RTMR {
		out += separator
		if r != nil {
			out += hex.EncodeToString(r[:])
		}
	}
	return out
}
