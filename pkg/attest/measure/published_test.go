package measure_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// sev-snp-measure-go's module carries two real firmware images with the values that
// the Python tool gives for them on EC2 with two vCPUs.
func TestLaunchDigestsOfPublishedFirmware(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/virtee/sev-snp-measure-go").Output()
	if err != nil || strings.TrimSpace(string(out)) == "" {
		t.Fatalf("find the module's folder (%q): %v", out, err)
	}
	for file, want := range map[string][2]string{
		"ovmf_img_1.bin": {
			"a58211791a556a630a4319dc9e2ea96cc0e9784dd9f20a4fadf81b26c98d163fcdcb6703884bbbb80d7b1de45b3d84d0",
			"4c6e33087d08fa770259484dddbef367086a15c3e2cf10038dc97229d39c942671c2e22b300178f8de594a3f2fa59303",
		},
		"ovmf_img_2.bin": {
			"2027a27bb9f7acfd280e4c7bd68a73973b94bf0756e5b282e004b9395f597b8d0eb4defa7d8f6549375aa4d2b146f0f3",
			"c2c84b9364fc9f0f54b04534768c860c6e0e386ad98b96e8b98eca46ac8971d05c531ba48373f054c880cfd1f4a0a84e",
		},
	} {
		image, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "guest", "testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := measure.FirmwareHash(image); err != nil || got.String() != want[0] {
			t.Errorf("%s: firmware hash %v, error %v; want %s", file, got, err, want[0])
		}
		g := measure.SNPGuest{Firmware: image, VCPUs: 2, GuestFeatures: 1, VMM: measure.EC2}
		if got, err := measure.SNPLaunchDigest(g); err != nil || got.String() != want[1] {
			t.Errorf("%s: launch digest %v, error %v; want %s", file, got, err, want[1])
		}
	}
}
