package planner

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
)

func TestWhatIsKeptOfAPlanLeavesRoomForTheUpdate(t *testing.T) {
	var p model.Plan
	for range 4000 {
		long := strings.Repeat("<é", 20_000) // < takes six bytes in a record
		p.Changes = append(p.Changes, model.Change{Path: long, Old: long, New: long})
		p.Warnings = append(p.Warnings, long)
		p.Hosts = append(p.Hosts, model.HostRoom{Host: strings.Repeat("h", 253), Offers: []int{1, 2, 4, 8}})
	}
	small := kept(p)
	data, err := json.Marshal(small)
	if err != nil || len(data) > store.MaxValueBytes/3 {
		t.Errorf("it has %d bytes (%v), expected at most a third of a record", len(data), err)
	}
	if len(p.Changes) != 4000 || len(p.Warnings[0]) != 60_000 {
		t.Error("the plan that is shown has changed")
	}
	if c := kept(model.Plan{Changes: []model.Change{{Path: "tag", Old: "v1", New: "v2"}}, Warnings: []string{"mind the gap"}}); c.Changes[0].New != "v2" || c.Warnings[0] != "mind the gap" {
		t.Errorf("an ordinary plan is kept as %+v", c)
	}
}
