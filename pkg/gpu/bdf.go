package gpu

import (
	"errors"
	"fmt"
	"strings"
)

// BDF is a PCI address in canonical form: four hexadecimal digits of domain,
// two of bus, two of device, one of function, lower case, as in
// "0000:17:00.0". It is the identity of a card on a host: it survives a change
// of driver and a reboot.
type BDF string

// ErrBDF says that a text is no PCI address.
var ErrBDF = errors.New("not a PCI address such as 0000:17:00.0")

// ParseBDF reads a PCI address and makes it canonical. The domain may be left
// out (it is then 0) or have eight digits, as NVML writes it; upper case is
// accepted. Domains above ffff exist (VMD) and keep their digits.
func ParseBDF(s string) (BDF, error) {
	fields := strings.Split(strings.ToLower(s), ":")
	if len(s) > len("00000000:00:00.0") {
		return "", fmt.Errorf("%.20q…: %w", s, ErrBDF)
	}
	if len(fields) == 2 {
		fields = append([]string{"0000"}, fields...)
	}
	if len(fields) != 3 || !hex(fields[0], 4, 8) || !hex(fields[1], 2, 2) || !deviceFunction(fields[2]) {
		return "", fmt.Errorf("%q: %w", s, ErrBDF)
	}
	domain := strings.TrimLeft(fields[0], "0")
	if len(domain) < 4 {
		domain = strings.Repeat("0", 4-len(domain)) + domain
	}
	return BDF(domain + ":" + fields[1] + ":" + fields[2]), nil
}

// String returns the canonical text.
func (b BDF) String() string { return string(b) }

// deviceFunction reports whether s is a device (00 to 1f) and function (0 to 7).
func deviceFunction(s string) bool {
	return len(s) == 4 && (s[0] == '0' || s[0] == '1') && hex(s[1:2], 1, 1) && s[2] == '.' && s[3] >= '0' && s[3] <= '7'
}

// hex reports whether s is lower-case hexadecimal of least to most digits.
func hex(s string, least, most int) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}
