package nvidia

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate says what is wrong with the values, naming the key. An empty list is
// wrong: it would accept nothing, and is likelier a slip.
func (p *Policy) Validate() error {
	return errors.Join(
		eachOf("architectures", p.Architectures, func(a Architecture) error { _, err := ParseArchitecture(string(a)); return err }),
		eachVersion("driver_versions", p.DriverVersions, checkDriverVersion),
		eachVersion("vbios_versions", p.VBIOSVersions, checkVBIOSVersion),
		eachOf("modes", p.Modes, func(m Mode) error {
			return oneOf(m, ModeSingle, ModeMulti, ModeProtectedPCIe, ModeUnstated)
		}),
		eachOf("device_roots", p.DeviceRoots, checkRootDigest),
		eachOf("rim_roots", p.RIMRoots, checkRootDigest),
		p.validateScalars(),
	)
}

func (p *Policy) validateScalars() error {
	var errs []error
	fail := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	if p.MinimumDriver != "" {
		fail("minimum_driver", checkDriverVersion(p.MinimumDriver))
	}
	fail("gpu_count", checkCount(p.GPUCount))
	fail("switch_count", checkCount(p.SwitchCount))
	if p.ProtectedPCIe != "" {
		fail("protected_pcie", oneOf(p.ProtectedPCIe, ProtectedPCIeRequired, ProtectedPCIeComplete, ProtectedPCIeForbidden))
	}
	if p.RIMTime != "" {
		fail("rim_time", oneOf(p.RIMTime, RIMTimeNow, RIMTimeSignerExpired, RIMTimeNotChecked))
	}
	if p.OCSPGrace < 0 || p.OCSPGrace > 366*24*time.Hour {
		fail("ocsp_grace", fmt.Errorf("%s is not between 0 and 366 days", p.OCSPGrace))
	}
	return errors.Join(errs...)
}

func eachVersion(key string, v Versions, check func(string) error) error {
	if v.isAny() {
		return nil
	}
	return eachOf(key, v, check)
}

func eachOf[T ~string](key string, values []T, check func(T) error) error {
	if values != nil && len(values) == 0 {
		return fmt.Errorf("%s: the list is empty; leave the key out, or name what is wanted", key)
	}
	for _, v := range values {
		if err := check(v); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func oneOf[T ~string](got T, values ...T) error {
	if slices.Contains(values, got) {
		return nil
	}
	return fmt.Errorf("%.40q is none of %v", got, values)
}

func checkCount(n *int) error {
	if n != nil && (*n < 0 || *n > MaxDevices) {
		return fmt.Errorf("%d is not between 0 and %d", *n, MaxDevices)
	}
	return nil
}

func checkRootDigest(s string) error {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(digest{}) || strings.ToLower(s) != s {
		return fmt.Errorf("%.80q is not a SHA-256 in lower-case hex", s)
	}
	return nil
}

func checkDriverVersion(s string) error {
	_, err := versionNumbers(s)
	return err
}

func checkVBIOSVersion(s string) error {
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 16, 8); err != nil || len(p) != 2 {
			return fmt.Errorf("%.40q is not a VBIOS version such as 96.00.9F.00.01", s)
		}
	}
	if len(parts) != 5 {
		return fmt.Errorf("%.40q is not a VBIOS version such as 96.00.9F.00.01", s)
	}
	return nil
}

// versionNumbers splits a version such as 550.90.07 into two to four numbers.
func versionNumbers(s string) ([]int, error) {
	parts := strings.Split(s, ".")
	out := make([]int, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%.40q is not a driver version such as 550.90.07", s)
		}
		out[i] = int(n)
	}
	if len(out) < 2 || len(out) > 4 {
		return nil, fmt.Errorf("%.40q is not a driver version such as 550.90.07", s)
	}
	return out, nil
}
