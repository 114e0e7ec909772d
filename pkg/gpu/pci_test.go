package gpu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestReadPCI(t *testing.T) {
	root := sysfs(t, map[string]slot{
		"0000:17:00.0": gpuSlot(idH200, "vfio-pci", 40, 1),
		"0000:05:00.0": {vendorNVIDIA, 0x22a3, 0x068000, "", 0, "-1", 0},
		"0000:00:1f.0": {0x8086, 0x1234, 0x060100, "lpc_ich", 7, "1", 0},
	})
	got, err := ReadPCI(root)
	if err != nil {
		t.Fatal(err)
	}
	bars := []BAR{{0, 16 << 20, false}, {1, 256 << 30, true}}
	want := []Function{
		{BDF: "0000:00:1f.0", Vendor: 0x8086, Device: 0x1234, Class: 0x0601, Driver: "lpc_ich", IOMMUGroup: 7, NUMANode: 1},
		{BDF: "0000:05:00.0", Vendor: vendorNVIDIA, Device: 0x22a3, Class: classOtherBridge, Driver: DriverNone, IOMMUGroup: -1, NUMANode: -1, BARs: bars},
		{BDF: "0000:17:00.0", Vendor: vendorNVIDIA, Device: idH200, Class: class3D, Driver: DriverVFIO, IOMMUGroup: 40, BARs: bars},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("functions (-want +got):\n%s", diff)
	}
	if !got[2].IsGPU() || got[2].IsSwitch() || !got[1].IsSwitch() || got[0].IsGPU() {
		t.Error("GPUs and NVSwitches are mistaken")
	}
}

func TestAHostWithoutPCIHasNoFunctions(t *testing.T) {
	if got, err := ReadPCI(t.TempDir()); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ReadPCI(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing root was accepted")
	}
}

func TestOddSysfsContentsAreProblemsOfTheirFunctionOnly(t *testing.T) {
	dir := func(root string) string { return filepath.Join(root, "sys/devices/pci0000:00/0000:17:00.0") }
	for name, spoil := range map[string]func(t *testing.T, root string){
		"no vendor":          func(t *testing.T, root string) { remove(t, dir(root)+"/vendor") },
		"a wide device id":   func(t *testing.T, root string) { put(t, dir(root), "device", "0x12345") },
		"a class of nothing": func(t *testing.T, root string) { put(t, dir(root), "class", "") },
		"a huge attribute":   func(t *testing.T, root string) { put(t, dir(root), "class", strings.Repeat("0", 1<<20)) },
		"a node of words":    func(t *testing.T, root string) { put(t, dir(root), "numa_node", "north") },
		"a node too large":   func(t *testing.T, root string) { put(t, dir(root), "numa_node", "99999999999") },
		"a group of words": func(t *testing.T, root string) {
			remove(t, dir(root)+"/iommu_group")
			link(t, dir(root), "../../x", "iommu_group")
		},
		"a driver that is a file": func(t *testing.T, root string) {
			remove(t, dir(root)+"/driver")
			put(t, dir(root), "driver", "nvidia")
		},
		"resources of words":    func(t *testing.T, root string) { put(t, dir(root), "resource", "many") },
		"a resource inside out": func(t *testing.T, root string) { put(t, dir(root), "resource", "0x5 0x1 0x200") },
		"an attribute that leads out of the root": func(t *testing.T, root string) {
			remove(t, dir(root)+"/vendor")
			link(t, dir(root), "/etc/hostname", "vendor")
		},
		"an attribute that is a pipe": func(t *testing.T, root string) {
			remove(t, dir(root)+"/vendor")
			if err := unix.Mkfifo(dir(root)+"/vendor", 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := sysfs(t, map[string]slot{
				"0000:17:00.0": gpuSlot(idH200, "vfio-pci", 40, 1), "0000:2a:00.0": gpuSlot(idH200, "vfio-pci", 41, 1),
			})
			spoil(t, root)
			got, err := ReadPCI(root)
			if err != nil || len(got) != 2 {
				t.Fatalf("%+v, %v", got, err)
			}
			if got[0].Problem == "" || got[1].Problem != "" {
				t.Errorf("problems %q and %q", got[0].Problem, got[1].Problem)
			}
		})
	}
}

func TestEntriesThatAreNoAddressAreLeftOut(t *testing.T) {
	root := sysfs(t, nil)
	for _, name := range []string{"x", "17:00.0", "0000:17:00.0:pcie001"} {
		put(t, root, pciDevices+"/"+name+"/vendor", "0x10de")
	}
	if got, err := ReadPCI(root); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func FuzzResource(f *testing.F) {
	f.Add("0x0000220000000000 0x0000223fffffffff 0x000000000014220c\n")
	f.Add("0x0 0xffffffffffffffff 0x200\n")
	f.Fuzz(func(t *testing.T, text string) {
		root := sysfs(t, map[string]slot{"0000:17:00.0": gpuSlot(0x1234, "", 0, 0)})
		put(t, root, pciDevices+"/0000:17:00.0/resource", text)
		got, err := ReadPCI(root)
		if err != nil || len(got) != 1 || len(got[0].BARs) > mostBARs {
			t.Fatalf("%+v, %v", got, err)
		}
		for _, b := range got[0].BARs {
			if b.Size == 0 {
				t.Fatalf("a BAR of no size: %+v", b)
			}
		}
	})
}
