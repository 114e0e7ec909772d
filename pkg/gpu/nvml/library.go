//go:build cgo && linux

package nvml

import (
	"errors"
	"fmt"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// BuiltIn says whether this program can load NVML.
const BuiltIn = true

// Library is NVML. It loads libnvidia-ml.so.1 at the first call, and tries
// again at the next if that failed, so that a driver may come later.
type Library struct {
	api nvml.Interface

	mu      sync.Mutex // guards what follows; not held during a wait for events
	ready   bool
	symbols map[string]bool // optional functions that this driver has

	events sync.Mutex // guards set; held during a wait for events
	set    nvml.EventSet
}

// New returns a Library. It loads nothing yet.
func New() *Library { return over(nvml.New()) }

// over returns a Library over any implementation of go-nvml's interface.
func over(api nvml.Interface) *Library { return &Library{api: api} }

// maxDevices bounds what a broken driver can make us ask about.
const maxDevices = 64

// Functions that must exist, and functions without which something is left
// out. go-nvml binds lazily: to call a function that the driver's library
// lacks ends the process, so each is looked up first.
var (
	requiredSymbols = []string{
		"nvmlDeviceGetUUID", "nvmlDeviceGetName", "nvmlDeviceGetMemoryInfo",
	}
	optionalSymbols = []string{symMIG, symECCMode, symECCErrors, symRemapped, symSettings, symState, symEvents, symRegister, symReport, symChain, symArchitecture}
)

// The optional functions.
const (
	symMIG       = "nvmlDeviceGetMigMode"
	symECCMode   = "nvmlDeviceGetEccMode"
	symECCErrors = "nvmlDeviceGetTotalEccErrors"
	symRemapped  = "nvmlDeviceGetRemappedRows"
	symSettings  = "nvmlSystemGetConfComputeSettings"
	symState     = "nvmlSystemGetConfComputeState"
	symEvents    = "nvmlEventSetCreate"
	symRegister  = "nvmlDeviceRegisterEvents"
	symReport    = "nvmlDeviceGetConfComputeGpuAttestationReport"
	symChain     = "nvmlDeviceGetConfComputeGpuCertificate"

	symArchitecture = "nvmlDeviceGetArchitecture"
)

// load initialises NVML once. No other function may be called before it
// succeeded.
func (l *Library) load() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ready {
		return nil
	}
	if ret := l.api.Init(); ret != nvml.SUCCESS {
		// ErrorString would itself call into a library that may not be there.
		return fmt.Errorf("%w: initialisation ended with code %d; is the nvidia driver loaded?", gpu.ErrNoNVML, int(ret))
	}
	for _, name := range requiredSymbols {
		if err := l.api.Extensions().LookupSymbol(name); err != nil {
			_ = l.api.Shutdown() // nothing was used of it yet
			return fmt.Errorf("%w: the library is too old: %w", gpu.ErrNoNVML, err)
		}
	}
	l.symbols = map[string]bool{}
	for _, name := range optionalSymbols {
		l.symbols[name] = l.api.Extensions().LookupSymbol(name) == nil
	}
	l.ready = true
	return nil
}

// has reports whether the driver has an optional function. The map does not
// change once load succeeded.
func (l *Library) has(symbol string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.symbols[symbol]
}

// Devices implements gpu.NVML.
func (l *Library) Devices() ([]gpu.NVMLDevice, error) {
	if err := l.load(); err != nil {
		return nil, err
	}
	handles, err := l.handles()
	if err != nil {
		return nil, err
	}
	mode := l.mode()
	var list []gpu.NVMLDevice
	for _, h := range handles {
		d := l.describe(h)
		d.Mode = mode
		list = append(list, d)
	}
	return list, nil
}

// handles lists the driver's cards. One that can't be opened is left out: by
// its absence it is known as unreadable.
func (l *Library) handles() ([]nvml.Device, error) {
	n, ret := l.api.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return nil, failed("count cards", ret)
	}
	if n < 0 || n > maxDevices {
		return nil, fmt.Errorf("count cards: NVML says %d, which no host has", n)
	}
	var handles []nvml.Device
	for i := range n {
		if h, ret := l.api.DeviceGetHandleByIndex(i); ret == nvml.SUCCESS {
			handles = append(handles, h)
		}
	}
	return handles, nil
}

// mode says in which mode the driver runs its cards, all alike.
func (l *Library) mode() gpu.Mode {
	if l.has(symSettings) {
		s, ret := l.api.SystemGetConfComputeSettings()
		return decodeMode(ret, s.CcFeature, s.DevToolsMode, s.MultiGpuMode)
	}
	if l.has(symState) {
		s, ret := l.api.SystemGetConfComputeState()
		return decodeMode(ret, s.CcFeature, s.DevToolsMode, nvml.CC_SYSTEM_MULTIGPU_NONE)
	}
	return gpu.ModeUnreadable
}

// decodeMode reads nvmlSystemConfComputeSettings_t (nvml.h). A driver that
// does not support confidential computing leaves it off.
func decodeMode(ret nvml.Return, feature, devtools, multi uint32) gpu.Mode {
	switch {
	case ret == nvml.ERROR_NOT_SUPPORTED:
		return gpu.ModeOff
	case ret != nvml.SUCCESS:
		return gpu.ModeUnreadable
	case devtools == nvml.CC_SYSTEM_DEVTOOLS_MODE_ON:
		return gpu.ModeDevtools
	case multi == nvml.CC_SYSTEM_MULTIGPU_PROTECTED_PCIE:
		return gpu.ModePPCIe
	case feature == nvml.CC_SYSTEM_FEATURE_ENABLED:
		return gpu.ModeOn
	default:
		return gpu.ModeOff
	}
}

// failed makes an error of a return code. NVML is loaded by then.
func failed(what string, ret nvml.Return) error {
	return fmt.Errorf("%s: NVML code %d", what, int(ret))
}

// problems collects what could not be read of a card.
type problems struct{ errs []error }

// ok notes a failure and reports whether there was none.
func (p *problems) ok(what string, ret nvml.Return) bool {
	if ret != nvml.SUCCESS {
		p.errs = append(p.errs, failed(what, ret))
	}
	return ret == nvml.SUCCESS
}

func (p *problems) text() string {
	if err := errors.Join(p.errs...); err != nil {
		return err.Error()
	}
	return ""
}
