package agent

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// CheckTEE says what is missing on this host for a profile; root is the root of
// the filesystem. The kernel's parameters say whether it has the technology on:
// docs.kernel.org, "AMD Memory Encryption" and "Intel Trust Domain Extensions".
func CheckTEE(root string, profile agentv1.CvmProfile) error {
	switch profile {
	case agentv1.CvmProfile_CVM_PROFILE_NONE:
		return nil
	case agentv1.CvmProfile_CVM_PROFILE_SEV_SNP:
		if err := parameterOn(root, "sys/module/kvm_amd/parameters/sev_snp"); err != nil {
			return fmt.Errorf("SEV-SNP does not work here: %w: enable it in the firmware and load kvm_amd with sev_snp=1", err)
		}
		return device(root, "dev/sev")
	case agentv1.CvmProfile_CVM_PROFILE_TDX:
		if err := parameterOn(root, "sys/module/kvm_intel/parameters/tdx"); err != nil {
			return fmt.Errorf("TDX does not work here: %w: enable it in the firmware and load kvm_intel with tdx=1", err)
		}
		return nil
	default:
		return fmt.Errorf("profile %s is not known to this agent", profile)
	}
}

func parameterOn(root, path string) error {
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return fmt.Errorf("read /%s: %w", path, err)
	}
	if value := strings.TrimSpace(string(text)); value != "Y" && value != "1" {
		return fmt.Errorf("/%s is %.16q, not Y", path, value)
	}
	return nil
}

func device(root, path string) error {
	info, err := os.Stat(filepath.Join(root, path))
	if err != nil {
		return fmt.Errorf("the device is missing: %w", err)
	}
	if info.Mode()&fs.ModeDevice == 0 {
		return fmt.Errorf("/%s is no device", path)
	}
	return nil
}

// BootID reads the kernel's boot id, which changes with every boot; root is the
// root of the filesystem.
func BootID(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if id == "" || len(id) > 64 {
		return "", fmt.Errorf("the kernel's boot id is %.80q", id)
	}
	return id, nil
}
