package fake

import (
	"context"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// ErrSwitching says that a change of mode is under way already.
var ErrSwitching = errors.New("a change of mode is under way on this host; try again once it has ended")

// SetMode implements gpu.ModeSetter. It takes the time, and ends with the
// error, that the description states. While it runs, no card is healthy.
func (i *Inventory) SetMode(ctx context.Context, mode gpu.Mode) error {
	plan, err := i.beginSwitch(mode)
	if err != nil {
		return fmt.Errorf("set mode %q: %w", mode, err)
	}
	err = i.wait(ctx, plan.Duration)
	if err == nil && plan.Fail != "" {
		err = errors.New(plan.Fail)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.switching = false
	switch {
	case err == nil:
		i.mode, i.stuck = mode, ""
		return nil
	case plan.LeaveMixed:
		i.stuck = mode
	}
	return fmt.Errorf("set mode %q: %w", mode, err)
}

// beginSwitch checks that the change is possible and marks it as under way.
func (i *Inventory) beginSwitch(mode gpu.Mode) (ModeSwitch, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reload()
	if i.switching {
		return ModeSwitch{}, ErrSwitching
	}
	_, generation := gpu.Model(chips[i.host.Model].deviceID)
	if generation != gpu.Hopper || i.host.GPUs == 0 || mode != gpu.ModeOn && mode != gpu.ModePPCIe {
		return ModeSwitch{}, gpu.ErrModeNotSettable
	}
	i.switching = true
	return i.host.ModeSwitch, nil
}
