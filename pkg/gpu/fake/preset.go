package fake

import (
	"fmt"
	"slices"
	"strings"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// presets are the hosts that need no spelling out.
var presets = map[string]Host{
	"8xH200":          {Model: "H200", GPUs: 8, Switches: 4, Mode: gpu.ModeOn},
	"8xB200":          {Model: "B200", GPUs: 8, Mode: gpu.ModeOn},
	"1xH100":          {Model: "H100", GPUs: 1, Mode: gpu.ModeOn},
	"none":            {},
	"8xH200-one-sick": {Model: "H200", GPUs: 8, Switches: 4, Mode: gpu.ModeOn, Cards: []Card{{Index: 3, Sick: sickText}}},
}

const sickText = "Xid 79: GPU has fallen off the bus"

// Preset returns a host by name; Presets lists the names. An unknown name
// gives ErrHost.
func Preset(name string) (Host, error) {
	h, ok := presets[name]
	if !ok {
		return Host{}, fmt.Errorf("%w: unknown preset %q; known are %s", ErrHost, name, strings.Join(Presets(), ", "))
	}
	h.Cards = slices.Clone(h.Cards)
	return h, nil
}

// Presets returns the names of the presets, sorted.
func Presets() []string {
	names := make([]string, 0, len(presets))
	for name := range presets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
