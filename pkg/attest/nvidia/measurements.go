package nvidia

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// nvdecIndex is the measurement of NVDEC0, which a device on which that engine is
// switched off (opaque field 11) doesn't make; nvtrust, verifier.py.
const nvdecIndex = 35

// checkOverlap refuses an index that two RIMs of one device both demand something
// of: there would be no saying which is right.
func checkOverlap(rims []*RIM) error {
	owner := map[int]int{}
	for n, r := range rims {
		for _, g := range r.Golden {
			if !g.Active {
				continue
			}
			if first, taken := owner[g.Index]; taken {
				return fmt.Errorf("index %d is demanded by the RIMs of %s and of %s", g.Index, rims[first].Version, r.Version)
			}
			owner[g.Index] = n
		}
	}
	return nil
}

// compareMeasurements checks that each measurement that a RIM demands is in the
// report and is one of the values that the RIM allows. It returns how many were
// compared.
func compareMeasurements(report *Report, rims []*RIM) (int, error) {
	on, stated, err := report.Opaque.state(FieldNVDEC0)
	if err != nil {
		return 0, fmt.Errorf("NVDEC0: %w", err)
	}
	compared := 0
	var wrong []string
	for _, r := range rims {
		for i := range r.Golden {
			g := &r.Golden[i]
			if !g.Active || g.Index == nvdecIndex && stated && !on {
				continue
			}
			compared++
			if err := g.compare(report); err != nil {
				wrong = append(wrong, fmt.Sprintf("%d (RIM of %.40s) %v", g.Index, r.Version, err))
			}
		}
	}
	switch {
	case compared == 0:
		return 0, errors.New("the RIMs demand no measurement")
	case len(wrong) != 0:
		return compared, fmt.Errorf("%d of %d measurements are wrong: %s", len(wrong), compared, strings.Join(wrong, ", "))
	}
	return compared, nil
}

func (g *Golden) compare(report *Report) error {
	value, ok := report.measurement(g.Index)
	if !ok {
		return errors.New("is missing")
	}
	for _, want := range g.Values {
		if bytes.Equal(value, want) {
			return nil
		}
	}
	return fmt.Errorf("is %x, none of %d allowed values", value, len(g.Values))
}
