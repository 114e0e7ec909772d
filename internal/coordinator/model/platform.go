package model

import (
	"maps"
	"slices"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
)

// Platform is the platform of a manifest that enclaves of a CVM profile show
// themselves as; empty for a profile that is not known.
func Platform(p agentv1.CvmProfile) attest.Format {
	switch p {
	case agentv1.CvmProfile_CVM_PROFILE_SEV_SNP:
		return attest.FormatSEVSNP
	case agentv1.CvmProfile_CVM_PROFILE_TDX:
		return attest.FormatTDX
	case agentv1.CvmProfile_CVM_PROFILE_NONE:
		return attest.FormatSimulated
	}
	return ""
}

// PlatformPart is the part of an enclave's launch that belongs to this deployment and
// not to the release. secretsKey is the cluster's public key for secrets, 32 bytes.
func (r Revision) PlatformPart(cluster, domain string, secretsKey []byte) *agentv1.Platform {
	return &agentv1.Platform{
		ClusterId: cluster, SecretsKey: secretsKey, Domain: domain,
		Variables: r.Variables, Secrets: slices.Sorted(maps.Keys(r.Secrets)),
		Debug: r.Debug, SshKeys: r.SSHKeys,
	}
}
