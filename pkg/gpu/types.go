package gpu

import "time"

// Generation is the architecture of a GPU, as far as the rules tell them apart.
type Generation string

// The generations that differ in what they may do for confidential VMs.
const (
	Hopper     Generation = "hopper"
	Blackwell  Generation = "blackwell"
	OtherChips Generation = "other"
)

// Driver is the kernel driver that a card is bound to.
type Driver string

// The drivers that matter. A card bound to any other one is reported with that
// driver's name and is not offered.
const (
	DriverNVIDIA Driver = "nvidia"
	DriverVFIO   Driver = "vfio-pci"
	DriverNone   Driver = "none"
)

// Mode is the confidential-computing mode of a card.
type Mode string

// The modes of NVIDIA's confidential computing. ModeUnreadable is no mode of
// the hardware: it says that the mode could not be learnt.
const (
	ModeOff        Mode = "off"
	ModeOn         Mode = "on"
	ModeDevtools   Mode = "devtools"
	ModePPCIe      Mode = "ppcie"
	ModeUnreadable Mode = "unreadable"
)

// ReasonCode names why a card is not offered. It is stable: clients match it.
type ReasonCode string

// The reasons for which a card is not offered.
const (
	ReasonHeld         ReasonCode = "held"          // a claim holds the card
	ReasonMIG          ReasonCode = "mig"           // MIG is on; a slice is no PCI function
	ReasonUnreadable   ReasonCode = "unreadable"    // the mode, or the card, can't be read
	ReasonSick         ReasonCode = "sick"          // unhealthy: Xid, ECC, fallen off the bus
	ReasonQuarantine   ReasonCode = "quarantine"    // an unknown owner, or an operator's word
	ReasonMixedModes   ReasonCode = "mixed-modes"   // the host's cards disagree on the mode
	ReasonInsecureMode ReasonCode = "insecure-mode" // devtools, or off, for an enclave that needs better
	ReasonWrongMode    ReasonCode = "wrong-mode"    // a CC mode for an enclave without a CPU TEE
	ReasonDriver       ReasonCode = "driver"        // bound to a driver that can't hand the card over
	ReasonIncomplete   ReasonCode = "incomplete"    // protected PCIe without all GPUs and NVSwitches
	ReasonUnsupported  ReasonCode = "unsupported"   // a model whose confidential mode has no known rule
	ReasonDuplicate    ReasonCode = "duplicate"     // listed twice; the source of the list is broken
	ReasonSwitching    ReasonCode = "switching"     // a change of mode is under way
	ReasonIOMMU        ReasonCode = "iommu-group"   // the IOMMU group holds something foreign
)

// Reason says why a card is not offered, for machines and for people.
type Reason struct {
	Code ReasonCode
	Text string
}

// ECC is what the card says of its memory's errors since the driver loaded.
type ECC struct {
	Enabled       bool
	Corrected     uint64
	Uncorrected   uint64
	RemapPending  bool // a row remapping waits for a reset
	RemapFailed   bool // no spare rows are left: the card must be replaced
	CountersKnown bool // false where the counters could not be read
}

// GPU is one card.
type GPU struct {
	Index      int    // position among the host's GPUs, sorted by BDF, from 0
	UUID       string // NVML's, "GPU-…"; empty while NVML can't see the card
	BDF        BDF
	Model      string // "NVIDIA H200"; by device id where NVML can't see the card
	Generation Generation
	DeviceID   uint16 // PCI device id, such as 0x2335
	MemoryMiB  uint64 // frame buffer; by the size of BAR 1 where NVML can't see the card
	Driver     Driver
	IOMMUGroup int // -1 where there is none
	NUMANode   int // -1 where the platform doesn't say
	Mode       Mode
	MIG        bool
	ECC        ECC
	Healthy    bool
	Reasons    []Reason // why it is not healthy or not readable; empty for a sound card
}

// Switch is one NVSwitch.
type Switch struct {
	BDF        BDF
	DeviceID   uint16
	Driver     Driver
	IOMMUGroup int  // -1 where there is none
	NUMANode   int  // -1 where the platform doesn't say
	Mode       Mode // ModeUnreadable where nothing on the host can read it
	Healthy    bool
	Reasons    []Reason
}

// Severity grades a condition.
type Severity string

// The severities. A warning leaves the host usable; an error takes something
// out of service.
const (
	SeverityWarning Severity = "warning"
	SeverityError   Severity = "error"
)

// Condition is something wrong with the host's view of its GPUs as a whole.
type Condition struct {
	Code     string // stable, such as "nvml-stuck"
	Severity Severity
	Text     string // what is wrong and what to do about it
	Since    time.Time
}

// Snapshot is what an Inventory saw at one moment. GPUs and Switches are
// sorted by BDF. It belongs to its receiver, who may change it.
type Snapshot struct {
	GPUs       []GPU
	Switches   []Switch
	Conditions []Condition
	At         time.Time
}

// GPU returns the card at address b.
func (s Snapshot) GPU(b BDF) (GPU, bool) {
	for _, g := range s.GPUs {
		if g.BDF == b {
			return g, true
		}
	}
	return GPU{}, false
}
