package gpu

// model is what is known of a PCI device id before the driver is asked.
type model struct {
	name       string
	generation Generation
	nvlink     bool // on an NVSwitch board: several may serve one enclave in a CC mode
}

// models are the data-centre cards with a confidential mode, by PCI device id.
// Source: the PCI ID repository (pci-ids.ucw.cz), vendor 10de.
var models = map[uint16]model{
	0x2321: {"NVIDIA H100 NVL", Hopper, false},
	0x2330: {"NVIDIA H100 80GB HBM3", Hopper, true},
	0x2331: {"NVIDIA H100 PCIe", Hopper, false},
	0x2335: {"NVIDIA H200", Hopper, true},
	0x233b: {"NVIDIA H200 NVL", Hopper, false},
	0x2901: {"NVIDIA B200", Blackwell, true},
	0x2bb5: {"NVIDIA RTX PRO 6000 Blackwell Server Edition", Blackwell, false},
	0x3182: {"NVIDIA B300", Blackwell, true},
}

// Model returns the model's name and generation for a PCI device id;
// "NVIDIA 10de:xxxx" and OtherChips for one that is not known here.
func Model(deviceID uint16) (name string, generation Generation) {
	if m, ok := models[deviceID]; ok {
		return m.name, m.generation
	}
	const digits = "0123456789abcdef"
	id := []byte{digits[deviceID>>12], digits[deviceID>>8&15], digits[deviceID>>4&15], digits[deviceID&15]}
	return "NVIDIA 10de:" + string(id), OtherChips
}
