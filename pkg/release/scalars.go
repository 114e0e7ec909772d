package release

import (
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxQuoted is how much of a stranger's text an error repeats.
const maxQuoted = 60

// clip shortens text for an error and keeps it on one line.
func clip(s string) string {
	if len(s) > maxQuoted {
		s = s[:maxQuoted]
		for len(s) > 0 && !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func quote(s string) string { return `"` + clip(s) + `"` }

// childPath is the path of a key under a mapping.
func childPath(parent, key string) string {
	if parent == "" {
		return clip(key)
	}
	if strings.ContainsAny(key, ".[]/ ") {
		return parent + "[" + quote(key) + "]"
	}
	return parent + "." + clip(key)
}

// pattern reads text that has a fixed form.
func pattern(form *regexp.Regexp, want string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !form.MatchString(s) {
			return "", fmt.Errorf("must be %s, not %s", want, quote(s))
		}
		return s, nil
	}
}

// oneOf reads one of a few words.
func oneOf[T ~string](allowed ...T) func(string) (T, error) {
	return func(s string) (T, error) {
		words := make([]string, 0, len(allowed))
		for _, a := range allowed {
			if string(a) == s {
				return a, nil
			}
			words = append(words, string(a))
		}
		last := len(words) - 1
		list := words[last]
		if last > 0 {
			list = strings.Join(words[:last], ", ") + " or " + list
		}
		return "", fmt.Errorf("must be %s, not %s", list, quote(s))
	}
}

var sizeForm = regexp.MustCompile(`(?i)^([0-9]{1,15})(b|[kmgt]b?)?$`)

// parseSize reads a size such as 512m or 64g in bytes; the units are powers of
// 1024, as in Docker.
func parseSize(s string) (int64, error) {
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("must be a size such as 512m or 64g, not %s", quote(s))
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the size %s: %w", quote(s), err)
	}
	unit := int64(1)
	if m[2] != "" {
		unit = 1 << (10 * strings.Index("bkmgt", strings.ToLower(m[2][:1])))
	}
	if n == 0 {
		return 0, errors.New("must be more than 0")
	}
	if n > maxBytes/unit {
		return 0, fmt.Errorf("%s is more than %d MiB", quote(s), maxMemoryMiB)
	}
	return n * unit, nil
}

// duration reads a time such as 30s, 5m or 1h30m between least and most.
func duration(least, most time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		if plainInteger.MatchString(s) && s != "0" {
			return 0, fmt.Errorf("%s has no unit: write %ss for seconds", quote(s), clip(s))
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("must be a time such as 30s, 5m or 1h30m, not %s", quote(s))
		}
		if d < least || d > most {
			return 0, fmt.Errorf("must be between %s and %s, not %s", least, most, quote(s))
		}
		return d, nil
	}
}

var cpusForm = regexp.MustCompile(`^[0-9]{1,4}(\.[0-9]{1,9})?$`)

// parseMilliCPUs reads a number of CPUs such as 2 or 0.5 in thousandths.
func parseMilliCPUs(s string) (int64, error) {
	if !cpusForm.MatchString(s) {
		return 0, fmt.Errorf("must be a number of CPUs such as 2 or 0.5, not %s", quote(s))
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("read the number of CPUs %s: %w", quote(s), err)
	}
	milli := int64(math.Round(f * 1000))
	if milli < 1 || math.Abs(f*1000-float64(milli)) > 1e-6 {
		return 0, fmt.Errorf("%s CPUs is finer than a thousandth of a CPU", clip(s))
	}
	return milli, nil
}

// parsePort reads a port number.
func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || !plainInteger.MatchString(s) {
		return 0, fmt.Errorf("must be a port between 1 and 65535, not %s", quote(s))
	}
	return uint16(n), nil
}

// parseAbsolute reads a clean absolute path.
func parseAbsolute(s string) (string, error) {
	if !path.IsAbs(s) || path.Clean(s) != s || strings.ContainsAny(s, "\x00\n") {
		return "", fmt.Errorf("must be a clean absolute path such as /data, not %s", quote(s))
	}
	return s, nil
}

// parseTarget reads the place of a mount inside a container.
func parseTarget(s string) (string, error) {
	if _, err := parseAbsolute(s); err != nil {
		return "", err
	}
	if strings.ContainsAny(s, ":,\\") {
		return "", fmt.Errorf("the mount path %s has one of the characters : , \\", quote(s))
	}
	for _, taken := range []string{"/proc", "/sys", "/dev"} {
		if s == taken || strings.HasPrefix(s, taken+"/") {
			return "", fmt.Errorf("nothing can be mounted under %s (for /dev/shm write shm_size)", taken)
		}
	}
	if s == "/" {
		return "", errors.New("the root can't be mounted over; write read_only: false for a writable root")
	}
	return s, nil
}

var hostForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
var addressForm = regexp.MustCompile(`^[0-9.]+$`)

// parseHost reads an exact host name and gives it in lower case.
func parseHost(s string) (string, error) {
	host := strings.ToLower(strings.TrimSuffix(s, "."))
	switch {
	case strings.Contains(s, "*"):
		return "", fmt.Errorf("%s: wildcards are not supported; list the exact hosts", quote(s))
	case strings.Contains(s, "://") || strings.Contains(s, "/"):
		return "", fmt.Errorf("%s is a URL; write its host name only", quote(s))
	case addressForm.MatchString(host) || strings.Count(s, ":") > 1:
		return "", fmt.Errorf("%s is an address; write a host name", quote(s))
	case strings.Contains(s, ":"):
		return "", fmt.Errorf("%s has a port; write the host name only", quote(s))
	case len(host) > maxHostname || !hostForm.MatchString(host):
		return "", fmt.Errorf("%s is not a host name", quote(s))
	}
	return host, nil
}
