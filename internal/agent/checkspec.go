package agent

import (
	"errors"
	"fmt"
	"slices"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/release"
)

// Policy is what a host runs.
type Policy struct {
	// Profile is how enclaves are made here.
	Profile agentv1.CvmProfile
	// AllowSimulated accepts enclaves without a TEE, AllowDebug those with a shell.
	// Neither protects anything.
	AllowSimulated, AllowDebug bool
	// Simulated says that the backend's enclaves have no TEE.
	Simulated bool
}

// checkSpec says whether a spec from outside could run here, before anything is
// claimed for it. The errors are gRPC errors that name the field.
func (p Policy) checkSpec(cluster string, spec *agentv1.EnclaveSpec) error {
	if spec.GetPlatform().GetClusterId() != cluster {
		return rpc.FieldError("spec.platform.cluster_id", ReasonSpecMismatch,
			fmt.Sprintf("the platform part names cluster %.70q, the call comes from %s", spec.GetPlatform().GetClusterId(), cluster))
	}
	if err := p.checkPolicy(spec); err != nil {
		return err
	}
	for i, m := range spec.GetExpectedMeasurements() {
		if _, err := judge.ParseMeasurement(m); err != nil {
			return rpc.FieldError(fmt.Sprintf("spec.expected_measurements[%d]", i), "INVALID_MEASUREMENT", err.Error())
		}
	}
	return checkConfig(spec)
}

func (p Policy) checkPolicy(spec *agentv1.EnclaveSpec) error {
	debug := spec.GetPlatform().GetDebug()
	switch {
	case spec.GetProfile() != p.Profile:
		return rpc.Precondition(ReasonProfile, "spec.profile",
			fmt.Sprintf("this host makes enclaves of %s, not of %s", p.Profile, spec.GetProfile()))
	case p.insecure() && !p.AllowSimulated:
		return rpc.Precondition(ReasonInsecure, "host", "this host has no TEE, and its configuration does not allow "+
			"enclaves without: add simulated to allow_insecure if nothing needs protection here")
	case debug && !p.AllowDebug:
		return rpc.Precondition(ReasonInsecure, "spec.platform.debug", "a debug enclave has a shell, and this host's "+
			"configuration does not allow one: add debug to allow_insecure")
	case !debug && len(spec.GetPlatform().GetSshKeys()) > 0:
		return rpc.FieldError("spec.platform.ssh_keys", ReasonSpecMismatch, "only a debug enclave takes SSH keys")
	}
	return nil
}

// insecure says whether enclaves of this host protect nothing.
func (p Policy) insecure() bool {
	return p.Simulated || p.Profile == agentv1.CvmProfile_CVM_PROFILE_NONE
}

// marks names why an enclave of this spec would protect nothing here.
func (p Policy) marks(spec *agentv1.EnclaveSpec) []string {
	var marks []string
	if p.insecure() {
		marks = append(marks, evidence.MarkSimulated)
	}
	if spec.GetPlatform().GetDebug() {
		marks = append(marks, evidence.MarkDebug)
	}
	return marks
}

// checkConfig reads the config file, hostile until then, and compares it with
// what the spec says beside it.
func checkConfig(spec *agentv1.EnclaveSpec) error {
	if !slices.Contains(release.ConfigNames(), spec.GetConfigName()) {
		return rpc.FieldError("spec.config_name", ReasonInvalidConfig,
			fmt.Sprintf("%.80q is no config file's name; there are %v", spec.GetConfigName(), release.ConfigNames()))
	}
	cfg, _, err := release.Parse(spec.GetConfigName(), spec.GetConfig())
	if err != nil {
		return rpc.FieldError("spec.config", ReasonInvalidConfig, err.Error())
	}
	version := cfg.CVMVersion
	if cfg.CVMDigest != "" && spec.GetCvmVersion() != version {
		version += "@" + cfg.CVMDigest
	}
	for _, c := range []struct{ field, spec, config string }{
		{"spec.cpus", fmt.Sprint(spec.GetCpus()), fmt.Sprint(cfg.CPUs)},
		{"spec.memory_mib", fmt.Sprint(spec.GetMemoryMib()), fmt.Sprint(cfg.MemoryMiB)},
		{"spec.gpus", fmt.Sprint(spec.GetGpus()), fmt.Sprint(cfg.GPUs)},
		{"spec.cvm_version", spec.GetCvmVersion(), version},
	} {
		if c.spec != c.config {
			return rpc.FieldError(c.field, ReasonSpecMismatch,
				fmt.Sprintf("the spec says %.80q and the config it carries %.80q", c.spec, c.config))
		}
	}
	if _, err := cfg.CheckInputs(spec.GetPlatform().GetVariables(), spec.GetPlatform().GetSecrets()); err != nil {
		if _, ok := errors.AsType[*release.InputError](err); ok {
			return rpc.FieldError("spec.platform", ReasonSpecMismatch, err.Error())
		}
		return fmt.Errorf("compare the platform part with the config: %w", err)
	}
	return nil
}
