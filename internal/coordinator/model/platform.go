package model

import (
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
