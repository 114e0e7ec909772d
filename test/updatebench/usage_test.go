package main

import (
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

func TestUsageOfThisProcess(t *testing.T) {
	u, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.rss < 1<<20 || u.rss > 1<<34 {
		t.Errorf("resident memory %d bytes is not that of a test", u.rss)
	}
	if _, err := usageOf(-1); err == nil {
		t.Error("a process that does not exist has a usage")
	}
}

func TestBootTimeIsFromBootToHealth(t *testing.T) {
	at := func(s int64) *timestamppb.Timestamp { return timestamppb.New(time.Unix(s, 0)) }
	u := &cv1.Update{History: []*cv1.StepRecord{
		{Step: cv1.UpdateStep_UPDATE_STEP_STOP_OLD, EnterTime: at(1), LeaveTime: at(5)},
		{Step: cv1.UpdateStep_UPDATE_STEP_BOOT, EnterTime: at(5), LeaveTime: at(7)},
		{Step: cv1.UpdateStep_UPDATE_STEP_HEALTH, EnterTime: at(7), LeaveTime: at(11)},
	}}
	if got := bootTime(u); got != 6*time.Second {
		t.Errorf("boot took %s, want 6s", got)
	}
}
