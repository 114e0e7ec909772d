package release

import (
	"testing"
	"time"
)

func TestSizesAreInPowersOf1024(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "512b": 512, "64k": 64 << 10, "512m": 512 << 20, "64g": 64 << 30, "2G": 2 << 30, "1tb": 1 << 40,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s is %d bytes (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "0g", "-1g", "1.5g", "g", "1x", "1 g", "99999999999999t", "1gib"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q was taken as %d bytes", text, got)
		}
	}
}

func TestFractionalCPUs(t *testing.T) {
	for text, want := range map[string]int64{"2": 2000, "2.0": 2000, "0.5": 500, "1.125": 1125, "0.001": 1} {
		if got, err := parseMilliCPUs(text); err != nil || got != want {
			t.Errorf("%s CPUs are %d thousandths (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "0.0005", "1.0005", "-1", ".5", "1e2", "inf", "NaN"} {
		if got, err := parseMilliCPUs(text); err == nil {
			t.Errorf("%q was taken as %d thousandths", text, got)
		}
	}
}

func TestDurations(t *testing.T) {
	parse := duration(time.Millisecond, time.Hour)
	for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "1m30s": 90 * time.Second, "1ms": time.Millisecond} {
		if got, err := parse(text); err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "30", "61m", "-1s", "1d", "1us"} {
		if got, err := parse(text); err == nil {
			t.Errorf("%q was taken as %s", text, got)
		}
	}
}

func TestUsersAndSignals(t *testing.T) {
	for _, text := range []string{"root", "0", "1000:1000", "node", "node:staff", "4294967294", "_apt"} {
		if _, err := parseUser(text); err != nil {
			t.Errorf("the user %q was refused: %v", text, err)
		}
	}
	for _, text := range []string{"", ":", "a:", ":b", "a:b:c", "-1", "4294967296", "a b", "../x"} {
		if _, err := parseUser(text); err == nil {
			t.Errorf("the user %q was taken", text)
		}
	}
	for text, want := range map[string]string{"TERM": "SIGTERM", "SIGINT": "SIGINT", "SIGRTMIN+3": "SIGRTMIN+3", "RTMAX-1": "SIGRTMAX-1"} {
		if got, err := parseSignal(text); err != nil || got != want {
			t.Errorf("the signal %s is %q (%v), want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "SIG", "sigterm", "9", "SIGTERM+1", "SIGRTMIN-1", "SIGSTOP", "SIGRTMIN+"} {
		if got, err := parseSignal(text); err == nil {
			t.Errorf("the signal %q was taken as %s", text, got)
		}
	}
}

func TestHostsAreExactAndLowerCase(t *testing.T) {
	for text, want := range map[string]string{"API.Example.com": "api.example.com", "a.example.": "a.example", "localhost": "localhost"} {
		if got, err := parseHost(text); err != nil || got != want {
			t.Errorf("the host %s is %q (%v), want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "-a.example", "a..example", "a_b.example", "bücher.example", "1.2.3.4", "::1"} {
		if got, err := parseHost(text); err == nil {
			t.Errorf("the host %q was taken as %s", text, got)
		}
	}
}
