package gpu

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// sysfs paths below the filesystem root, and bounds on what is read of them.
const (
	pciDevices   = "sys/bus/pci/devices"
	maxFunctions = 4096
	maxAttribute = 4096 // sysfs attributes are at most one page
)

// PCI numbers: the vendor from pci-ids.ucw.cz, classes and resource flags from
// Linux include/linux/pci_ids.h and include/linux/ioport.h.
const (
	vendorNVIDIA      = 0x10de
	classVGA          = 0x0300
	class3D           = 0x0302
	classOtherBridge  = 0x0680
	classPCIBridge    = 0x0604
	resourceMem       = 0x00000200
	resourcePrefetch  = 0x00002000
	resourceMem64     = 0x00100000
	frameBufferBAR    = 1
	mostBARs          = 6
	unknownNode       = -1
	unknownIOMMUGroup = -1
)

// BAR is one of a function's base address registers.
type BAR struct {
	Index      int
	Size       uint64 // bytes
	Prefetch64 bool   // memory, 64-bit and prefetchable: what a guest's MMIO window must hold
}

// Function is a PCI function as sysfs shows it.
type Function struct {
	BDF        BDF
	Vendor     uint16
	Device     uint16
	Class      uint16 // base class and subclass
	Driver     Driver
	IOMMUGroup int // -1 where there is none
	NUMANode   int // -1 where the platform doesn't say
	BARs       []BAR
	Problem    string // what could not be read of it; empty if all could
}

// IsGPU reports whether f is an NVIDIA GPU.
func (f Function) IsGPU() bool {
	return f.Vendor == vendorNVIDIA && (f.Class == class3D || f.Class == classVGA)
}

// IsSwitch reports whether f is an NVSwitch.
func (f Function) IsSwitch() bool { return f.Vendor == vendorNVIDIA && f.Class == classOtherBridge }

// ReadPCI lists the PCI functions under the filesystem root (normally "/"),
// sorted by address. Links that lead out of the root are not followed. What
// can't be read of one function is that function's Problem; entries whose name
// is no address are left out. A host without PCI has none.
func ReadPCI(root string) ([]Function, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("read PCI functions: %w", err)
	}
	functions, err := readFunctions(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read PCI functions: %w", err)
	}
	return functions, nil
}

func readFunctions(r *os.Root) ([]Function, error) {
	dir, err := r.Open(pciDevices)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := dir.ReadDir(maxFunctions + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err := errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}
	if len(entries) > maxFunctions {
		return nil, fmt.Errorf("more than %d entries in %s", maxFunctions, pciDevices)
	}
	var functions []Function
	for _, e := range entries {
		if b, err := ParseBDF(e.Name()); err == nil && string(b) == e.Name() {
			functions = append(functions, readFunction(r, b))
		}
	}
	slices.SortFunc(functions, func(a, b Function) int { return cmp.Compare(a.BDF, b.BDF) })
	return functions, nil
}

// readFunction reads what is known of one function.
func readFunction(r *os.Root, b BDF) Function {
	a := attributes{root: r, dir: path.Join(pciDevices, string(b))}
	f := Function{BDF: b, Driver: DriverNone, IOMMUGroup: unknownIOMMUGroup, NUMANode: unknownNode}
	f.Vendor = uint16(a.hex("vendor", 16))
	f.Device = uint16(a.hex("device", 16))
	f.Class = uint16(a.hex("class", 24) >> 8) // the lowest byte is the programming interface
	if name := a.link("driver"); name != "" {
		f.Driver = Driver(name)
	}
	if name := a.link("iommu_group"); name != "" {
		f.IOMMUGroup = a.number("iommu_group", name)
	}
	if text, ok := a.optional("numa_node"); ok {
		f.NUMANode = a.number("numa_node", text)
	}
	if f.IsGPU() || f.IsSwitch() {
		f.BARs = a.bars()
	}
	if a.err != nil {
		f.Problem = a.err.Error()
	}
	return f
}

// attributes reads a function's sysfs attributes and keeps the first error.
type attributes struct {
	root *os.Root
	dir  string
	err  error
}

func (a *attributes) fail(name string, err error) {
	if a.err == nil {
		a.err = fmt.Errorf("attribute %s: %w", name, err)
	}
}

// text reads an attribute of at most a page.
func (a *attributes) text(name string) (string, error) {
	f, err := a.root.OpenFile(path.Join(a.dir, name), os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxAttribute+1))
	if len(content) > maxAttribute {
		err = errors.New("it is longer than a page")
	}
	return strings.TrimSpace(string(content)), errors.Join(err, f.Close())
}

// optional reads an attribute that need not exist.
func (a *attributes) optional(name string) (string, bool) {
	text, err := a.text(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.fail(name, err)
	}
	return text, err == nil
}

// hex reads a number such as 0x10de of at most so many bits.
func (a *attributes) hex(name string, bits int) uint64 {
	text, err := a.text(name)
	if err == nil {
		var n uint64
		if n, err = strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, bits); err == nil {
			return n
		}
	}
	a.fail(name, err)
	return 0
}

// number reads a group or node number; -1 for one that is none.
func (a *attributes) number(name, text string) int {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < -1 || n > math.MaxInt32 {
		a.fail(name, fmt.Errorf("%.32q is no number that the kernel would give", text))
		return -1
	}
	return int(n)
}

// link returns the last element of a link's target; "" where there is none.
func (a *attributes) link(name string) string {
	target, err := a.root.Readlink(path.Join(a.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	base := path.Base(target)
	if err != nil || base == "." || base == "/" || len(base) > 64 {
		a.fail(name, cmp.Or(err, errors.New("the link leads nowhere")))
		return ""
	}
	return base
}

// bars reads the sizes of the first six resources: the BARs.
func (a *attributes) bars() []BAR {
	text, ok := a.optional("resource")
	if !ok {
		return nil
	}
	var bars []BAR
	for i, line := range strings.Split(text, "\n") {
		if i == mostBARs {
			break
		}
		var start, end, flags uint64
		if n, err := fmt.Sscanf(line, "0x%x 0x%x 0x%x", &start, &end, &flags); n != 3 || err != nil || end < start {
			a.fail("resource", fmt.Errorf("line %d is not three numbers", i+1))
			return bars
		}
		if end == 0 || end-start == math.MaxUint64 {
			continue
		}
		const wide = resourceMem | resourcePrefetch | resourceMem64
		bars = append(bars, BAR{Index: i, Size: end - start + 1, Prefetch64: flags&wide == wide})
	}
	return bars
}
