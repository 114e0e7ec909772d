package tdx

import (
	"fmt"
	"maps"
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

// checkAcceptable says whether a policy may accept a status at all. Revoked is
// beyond any policy: the keys behind it may be known to others.
func (s Status) checkAcceptable() error {
	if s == Revoked {
		return fmt.Errorf("status %q can't be accepted by any policy", s)
	}
	if _, ok := statusTraits[s]; !ok {
		return fmt.Errorf("unknown TCB status %q; known are %v", s, slices.Sorted(maps.Keys(statusTraits)))
	}
	return nil
}

// trait is one thing that a status says.
type trait uint8

const (
	traitHardening     trait = 1 << iota // software must work around a flaw
	traitConfiguration                   // the platform must be configured otherwise
	traitRelaunch                        // the TD must be launched anew
	traitOutdated                        // an update is missing
	traitRevoked                         // the keys are not to be trusted
)

var statusTraits = map[Status]trait{
	UpToDate:                             0,
	SWHardeningNeeded:                    traitHardening,
	ConfigurationNeeded:                  traitConfiguration,
	ConfigurationAndSWHardeningNeeded:    traitConfiguration | traitHardening,
	OutOfDate:                            traitOutdated,
	OutOfDateConfigurationNeeded:         traitOutdated | traitConfiguration,
	Revoked:                              traitRevoked,
	TDRelaunchAdvised:                    traitRelaunch,
	TDRelaunchAdvisedConfigurationNeeded: traitRelaunch | traitConfiguration,
}

func (s Status) has(t trait) bool { return statusTraits[s]&t != 0 }

// converge joins a platform's status with that of a part (TDX module or quoting
// enclave): what either says, the whole says, as far as there is a status for
// it. For the statuses that Intel gives parts this is what its quote verification
// library does. A status that is not known stays, and no policy accepts it.
func (s Status) converge(part Status) Status {
	a, ok := statusTraits[s]
	if !ok {
		return s
	}
	b, ok := statusTraits[part]
	if !ok {
		return part
	}
	return compose(a | b)
}

func compose(t trait) Status {
	configuration := t&traitConfiguration != 0
	pick := func(with, without Status) Status {
		if configuration {
			return with
		}
		return without
	}
	switch {
	case t&traitRevoked != 0:
		return Revoked
	case t&traitOutdated != 0:
		return pick(OutOfDateConfigurationNeeded, OutOfDate)
	case t&traitRelaunch != 0:
		return pick(TDRelaunchAdvisedConfigurationNeeded, TDRelaunchAdvised)
	case t&traitHardening != 0:
		return pick(ConfigurationAndSWHardeningNeeded, SWHardeningNeeded)
	}
	return pick(ConfigurationNeeded, UpToDate)
}
