package yamlconfig

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Size is a number of bytes, written with a unit: 512, 16KiB, 64MiB, 2GiB, 1TiB.
type Size uint64

// units are those that a size may have, largest first.
var units = []struct {
	name string
	size uint64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseSize reads a size: a whole number and one of B, KiB, MiB, GiB and TiB; no
// unit means bytes.
func ParseSize(s string) (Size, error) {
	digits, factor := s, uint64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			digits, factor = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > math.MaxUint64/factor {
		return 0, fmt.Errorf("%.64q is no size such as 512, 16KiB, 64MiB or 2GiB", s)
	}
	return Size(n * factor), nil
}

// String writes the size with the largest unit that loses nothing.
func (s Size) String() string {
	for _, u := range units {
		if n := uint64(s); n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%d%s", n/u.size, u.name)
		}
	}
	return "0B"
}

// MiB is the size in whole MiB, rounded down.
func (s Size) MiB() uint64 { return uint64(s) >> 20 }

// UnmarshalYAML reads a size from a config.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("a size such as 16MiB is expected")
	}
	parsed, err := ParseSize(n.Value)
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
