package nvidia

import (
	"fmt"
	"strings"
)

// Bounds of a set. NVIDIA has published some hundreds of RIMs.
const (
	maxRIMs     = 2048
	maxRIMBytes = 64 << 20
)

// RIMSet holds RIM documents by name. It may be used by several goroutines once
// it is filled. The nil set stands for "no RIMs were given".
type RIMSet struct {
	docs map[string]rimDocument
	size int
}

type rimDocument struct {
	raw     []byte
	digest  digest
	subject rimSubject
}

// NewRIMSet returns a set of documents by their names, see [RIMSet.Add].
func NewRIMSet(docs map[string][]byte) (*RIMSet, error) {
	s := &RIMSet{docs: map[string]rimDocument{}}
	for name, raw := range docs {
		if err := s.Add(name, raw); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Add puts in a document. The name is a RIM id, or a file's name that ends in "_"
// and an id, with or without ".xml"; any other will do if no second document says
// that it is for the same. It only serves to find the document: what it is for
// stands in the signed text.
func (s *RIMSet) Add(name string, raw []byte) error {
	name = strings.TrimSuffix(name, ".xml")
	switch {
	case len(raw) > maxRIMSize:
		return fmt.Errorf("RIM %s: %d bytes are more than %d", name, len(raw), maxRIMSize)
	case len(s.docs) == maxRIMs || s.size+len(raw) > maxRIMBytes:
		return fmt.Errorf("RIM %s: more than %d documents or %d bytes", name, maxRIMs, maxRIMBytes)
	}
	if _, twice := s.docs[name]; twice {
		return fmt.Errorf("RIM %s was given twice", name)
	}
	s.docs[name] = rimDocument{raw, digestOf(raw), subjectOf(raw)}
	s.size += len(raw)
	return nil
}

// Ids of RIMs at NVIDIA's RIM service (nvtrust, cc_admin_utils.py and the switch
// verifier's config.py, which fixes project, SKU and chip SKU of switches).
const (
	switchBIOSPrefix = "NV_SWITCH_BIOS_5612_0002_890_"
	defaultBlackwell = "GB100"
)

// DriverRIMID returns the id of the RIM of the GPU driver that the report names.
func DriverRIMID(arch Architecture, o Opaque) (string, error) {
	version, err := o.DriverVersion()
	if err != nil {
		return "", err
	}
	if arch == Hopper {
		return "NV_GPU_DRIVER_GH100_" + version, nil
	}
	chip, err := blackwellChip(o)
	if err != nil {
		return "", err
	}
	return "NV_GPU_CC_DRIVER_" + chip + "_" + version, nil
}

// blackwellChip is what the report calls the chip; older ones don't.
func blackwellChip(o Opaque) (string, error) {
	if _, ok := o.Get(FieldChipInfo); !ok {
		return defaultBlackwell, nil
	}
	return o.text(FieldChipInfo, "chip")
}

// VBIOSRIMID returns the id of the RIM of a GPU's VBIOS or a switch's BIOS.
func VBIOSRIMID(arch Architecture, o Opaque) (string, error) {
	version, err := o.VBIOSVersion(arch)
	if err != nil {
		return "", err
	}
	version = strings.ToUpper(strings.ReplaceAll(version, ".", ""))
	if arch.IsSwitch() {
		return switchBIOSPrefix + version, nil
	}
	id := "NV_GPU_VBIOS_"
	for _, f := range []struct {
		id   FieldID
		name string
	}{{FieldProject, "project"}, {FieldProjectSKU, "project SKU"}, {FieldChipSKU, "chip SKU"}} {
		part, err := o.text(f.id, f.name)
		if err != nil {
			return "", err
		}
		id += strings.ToUpper(part) + "_"
	}
	return id + version, nil
}

// rimProduct is the product that the RIM of a device has to be for.
func rimProduct(arch Architecture, o Opaque) (string, error) {
	switch arch {
	case Hopper:
		return "GH100", nil
	case LS10:
		return "LS10", nil
	}
	return blackwellChip(o)
}

// RIMIDs returns the ids of the RIMs that the evidence needs, each once: what a
// caller has to fetch. Nothing about the evidence is believed for it.
func (e *Evidence) RIMIDs() ([]string, error) {
	var ids []string
	seen := map[string]bool{}
	for i, d := range e.Devices {
		report, err := ParseReport(d.Report)
		if err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
		for _, kind := range rimKinds(d.Arch) {
			id, err := kind.id(d.Arch, report.Opaque)
			if err != nil {
				return nil, fmt.Errorf("device %d: %w", i, err)
			}
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// rimKind is one of the RIMs that a device needs.
type rimKind struct {
	name    string // prefix of its checks
	id      func(Architecture, Opaque) (string, error)
	version func(Architecture, Opaque) (string, error)
}

var (
	driverRIM = rimKind{"driver_rim_", DriverRIMID, func(_ Architecture, o Opaque) (string, error) { return o.DriverVersion() }}
	vbiosRIM  = rimKind{"vbios_rim_", VBIOSRIMID, func(a Architecture, o Opaque) (string, error) { return o.VBIOSVersion(a) }}
)

func rimKinds(arch Architecture) []rimKind {
	if arch.IsSwitch() {
		return []rimKind{vbiosRIM}
	}
	return []rimKind{driverRIM, vbiosRIM}
}
