package tdx

import (
	"fmt"
	"slices"
)

// Status is Intel's judgement of a TCB, in the words of the PCS API v4.
type Status string

// The statuses. The last two come up only with TD reports of module 1.5: the
// platform is up to date by now, but the TD was launched before that.
const (
	UpToDate                             Status = "UpToDate"
	SWHardeningNeeded                    Status = "SWHardeningNeeded"
	ConfigurationNeeded                  Status = "ConfigurationNeeded"
	ConfigurationAndSWHardeningNeeded    Status = "ConfigurationAndSWHardeningNeeded"
	OutOfDate                            Status = "OutOfDate"
	OutOfDateConfigurationNeeded         Status = "OutOfDateConfigurationNeeded"
	Revoked                              Status = "Revoked"
	TDRelaunchAdvised                    Status = "TDRelaunchAdvised"
	TDRelaunchAdvisedConfigurationNeeded Status = "TDRelaunchAdvisedConfigurationNeeded"
)

var acceptableStatuses = []Status{
	UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded,
	OutOfDate, OutOfDateConfigurationNeeded, TDRelaunchAdvised, TDRelaunchAdvisedConfigurationNeeded,
}

// checkAcceptable says whether a policy may accept a status at all. Revoked is
// beyond any policy: the keys behind it may be known to others.
func (s Status) checkAcceptable() error {
	if s == Revoked {
		return fmt.Errorf("status %q can't be accepted by any policy", s)
	}
	if !slices.Contains(acceptableStatuses, s) {
		return fmt.Errorf("unknown TCB status %q; known are %v", s, acceptableStatuses)
	}
	return nil
}

// converge joins a platform's status with that of a part (TDX module or quoting
// enclave) as Intel's quote verification library does: an outdated part makes
// the whole outdated, a revoked one revokes it.
func (s Status) converge(part Status) Status {
	switch part {
	case UpToDate:
		return s
	case Revoked:
		return Revoked
	case OutOfDate:
		return s.outdated()
	case OutOfDateConfigurationNeeded, ConfigurationNeeded:
		return s.worstOf(part)
	}
	return part // not known: accepted by no policy
}

func (s Status) outdated() Status {
	switch s {
	case UpToDate, SWHardeningNeeded:
		return OutOfDate
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded:
		return OutOfDateConfigurationNeeded
	}
	return s
}

// worstOf covers what Intel allows for a part but has never published: a part
// that needs configuration.
func (s Status) worstOf(part Status) Status {
	switch {
	case s == Revoked:
		return Revoked
	case part == OutOfDateConfigurationNeeded || s == OutOfDate || s == OutOfDateConfigurationNeeded:
		return OutOfDateConfigurationNeeded
	case s == SWHardeningNeeded || s == ConfigurationAndSWHardeningNeeded:
		return ConfigurationAndSWHardeningNeeded
	case s == UpToDate || s == ConfigurationNeeded:
		return ConfigurationNeeded
	}
	return s
}

func (s Status) needsConfiguration() bool {
	return s == ConfigurationNeeded || s == ConfigurationAndSWHardeningNeeded || s == OutOfDateConfigurationNeeded
}
