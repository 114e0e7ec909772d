package guestapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest/evidence/strictjson"
)

// Status is how far a stage is.
type Status string

// The statuses of a stage.
const (
	StatusPending Status = "pending"
	StatusRunning Status = "running"
	StatusOK      Status = "ok"
	StatusSkipped Status = "skipped"
	StatusFailed  Status = "failed"
)

var protoStatus = map[Status]agentv1.StageStatus{
	StatusPending: agentv1.StageStatus_STAGE_STATUS_PENDING,
	StatusRunning: agentv1.StageStatus_STAGE_STATUS_RUNNING,
	StatusOK:      agentv1.StageStatus_STAGE_STATUS_OK,
	StatusSkipped: agentv1.StageStatus_STAGE_STATUS_SKIPPED,
	StatusFailed:  agentv1.StageStatus_STAGE_STATUS_FAILED,
}

// Stage is one stage of the guest's start.
type Stage struct {
	// Name is one of Stages.
	Name string `json:"name"`
	// Status is how far it is.
	Status Status `json:"status"`
	// DurationMS is how long it took, or has taken so far, in milliseconds.
	DurationMS int64 `json:"duration_ms"`
	// Reason says why it failed or is skipped, or what it waits for.
	Reason string `json:"reason"`
}

// BootStatus is how far an enclave is.
type BootStatus struct {
	// Version grows with every change.
	Version uint64 `json:"version"`
	// Ready is whether the config's health checks pass right now.
	Ready bool `json:"ready"`
	// Stopping is whether the guest is powering off.
	Stopping bool `json:"stopping"`
	// Stages are all stages in order.
	Stages []Stage `json:"stages"`
}

// Stage returns the stage of this name; ok is false if there is none.
func (b *BootStatus) Stage(name string) (s Stage, ok bool) {
	for _, s := range b.Stages {
		if s.Name == name {
			return s, true
		}
	}
	return Stage{}, false
}

// Failed returns the first stage that failed; ok is false if none did.
func (b *BootStatus) Failed() (s Stage, ok bool) {
	for _, s := range b.Stages {
		if s.Status == StatusFailed {
			return s, true
		}
	}
	return Stage{}, false
}

// Current returns the first stage that is neither done nor skipped, or the last.
func (b *BootStatus) Current() Stage {
	for _, s := range b.Stages {
		if s.Status != StatusOK && s.Status != StatusSkipped {
			return s
		}
	}
	if len(b.Stages) == 0 {
		return Stage{}
	}
	return b.Stages[len(b.Stages)-1]
}

// Proto returns the stages as the agent's API has them.
func (b *BootStatus) Proto() []*agentv1.BootStage {
	out := make([]*agentv1.BootStage, len(b.Stages))
	for i, s := range b.Stages {
		out[i] = &agentv1.BootStage{
			Name: s.Name, Status: protoStatus[s.Status], Reason: s.Reason,
			Duration: durationpb.New(time.Duration(s.DurationMS) * time.Millisecond),
		}
	}
	return out
}

// ParseBoot reads a boot status that comes from a guest: strictly, and with
// control characters taken out of its texts, as people will see them.
func ParseBoot(raw []byte) (*BootStatus, error) {
	b := &BootStatus{}
	err := strictjson.Object(raw, MaxBoot, strictjson.Fields{
		"version":  strictjson.Integer(&b.Version, 1<<62),
		"ready":    strictjson.Bool(&b.Ready),
		"stopping": strictjson.Bool(&b.Stopping),
		"stages":   strictjson.List(&b.Stages, maxStages, stage),
	}, "version", "ready", "stopping", "stages")
	if err != nil {
		return nil, fmt.Errorf("boot status: %w", err)
	}
	return b, nil
}

func stage(s *Stage) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var status string
		err := strictjson.Object(raw, MaxBoot, strictjson.Fields{
			"name":        strictjson.String(&s.Name, maxName),
			"status":      strictjson.String(&status, maxName),
			"duration_ms": strictjson.Integer(&s.DurationMS, int64(366*24*time.Hour/time.Millisecond)),
			"reason":      strictjson.String(&s.Reason, MaxReason),
		}, "name", "status", "duration_ms", "reason")
		if err != nil {
			return err
		}
		s.Status, s.Name, s.Reason = Status(status), printable(s.Name), printable(s.Reason)
		if _, known := protoStatus[s.Status]; !known {
			return fmt.Errorf("status %q is not known", status)
		}
		return nil
	}
}

// printable keeps a hostile text from driving the terminal that shows it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// Clip shortens a text to MaxReason bytes, on a character's border.
func Clip(s string) string {
	if len(s) <= MaxReason {
		return s
	}
	return strings.ToValidUTF8(s[:MaxReason-3], "") + "…"
}
