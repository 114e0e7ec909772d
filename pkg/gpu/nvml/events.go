//go:build cgo && linux

package nvml

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// errNoEvents says that nothing on the host reports Xids.
var errNoEvents = errors.New("no card reports Xids")

// WaitXid implements gpu.NVML. Cards that come to the driver later are seen
// after the next failure, which begins anew.
func (l *Library) WaitXid(timeout time.Duration) (gpu.NVMLXid, bool, error) {
	if err := l.load(); err != nil {
		return gpu.NVMLXid{}, false, err
	}
	l.events.Lock()
	defer l.events.Unlock()
	if l.set == nil {
		if err := l.subscribe(); err != nil {
			return gpu.NVMLXid{}, false, fmt.Errorf("subscribe to Xids: %w", err)
		}
	}
	milliseconds := min(max(timeout.Milliseconds(), 0), math.MaxInt32)
	data, ret := l.set.Wait(uint32(milliseconds))
	switch {
	case ret == nvml.ERROR_TIMEOUT:
		return gpu.NVMLXid{}, false, nil
	case ret != nvml.SUCCESS:
		_ = l.set.Free() // what failed is told, and the set is gone either way
		l.set = nil
		return gpu.NVMLXid{}, false, failed("wait for Xids", ret)
	case data.EventType != nvml.EventTypeXidCriticalError:
		return gpu.NVMLXid{}, false, nil
	}
	xid := gpu.NVMLXid{Xid: data.EventData}
	if data.Device != nil {
		if info, ret := data.Device.GetPciInfo(); ret == nvml.SUCCESS {
			xid.BusID = busID(info)
		}
	}
	return xid, true, nil
}

// subscribe makes the event set, with every card that can report Xids.
func (l *Library) subscribe() error {
	if !l.has(symEvents) || !l.has(symRegister) {
		return errNoEvents
	}
	handles, err := l.handles()
	if err != nil {
		return err
	}
	set, ret := l.api.EventSetCreate()
	if ret != nvml.SUCCESS {
		return failed("make event set", ret)
	}
	registered := 0
	for _, h := range handles {
		if h.RegisterEvents(nvml.EventTypeXidCriticalError, set) == nvml.SUCCESS {
			registered++
		}
	}
	if registered == 0 {
		_ = set.Free() // nothing is registered in it
		return errNoEvents
	}
	l.set = set
	return nil
}
