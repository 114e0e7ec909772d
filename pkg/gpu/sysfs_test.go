package gpu

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// slot is a PCI function to be laid out as sysfs would.
type slot struct {
	vendor, device uint16
	class          uint32
	driver         string
	group          int // 0 for none
	node           string
	register       uint32 // what the mode register holds; BAR 0 is made for known models
}

func gpuSlot(device uint16, driver string, group int, register uint32) slot {
	return slot{vendorNVIDIA, device, 0x030200, driver, group, "0", register}
}

// sysfs lays out functions under a new root, with links as the kernel makes
// them, and returns the root.
func sysfs(t *testing.T, slots map[string]slot) string {
	t.Helper()
	root := t.TempDir()
	put(t, root, "sys/bus/pci/devices/.keep", "")
	for bdf, s := range slots {
		real := "sys/devices/pci0000:00/" + bdf
		put(t, root, real+"/vendor", fmt.Sprintf("0x%04x\n", s.vendor))
		put(t, root, real+"/device", fmt.Sprintf("0x%04x\n", s.device))
		put(t, root, real+"/class", fmt.Sprintf("0x%06x\n", s.class))
		put(t, root, real+"/numa_node", s.node+"\n")
		put(t, root, real+"/resource", "0x0000000000000000 0x0000000000ffffff 0x0000000000040200\n"+
			"0x0000220000000000 0x0000223fffffffff 0x000000000014220c\n"+
			"0x0000000000000000 0x0000000000000000 0x0000000000000000\n")
		put(t, root, real+"/power/control", "auto\n")
		link(t, root, "../../../devices/pci0000:00/"+bdf, "sys/bus/pci/devices/"+bdf)
		if s.driver != "" {
			link(t, root, "../../../bus/pci/drivers/"+s.driver, real+"/driver")
		}
		if s.group > 0 {
			link(t, root, fmt.Sprintf("../../../kernel/iommu_groups/%d", s.group), real+"/iommu_group")
		}
		offsets := map[Generation]int{Hopper: hopperModeOffset, Blackwell: blackwellModeOffset}
		if _, generation := Model(s.device); offsets[generation] > 0 {
			bar := make([]byte, offsets[generation]+4)
			binary.LittleEndian.PutUint32(bar[offsets[generation]:], s.register)
			put(t, root, real+"/resource0", string(bar))
		}
	}
	return root
}

func put(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, root, target, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
		t.Fatal(err)
	}
}
