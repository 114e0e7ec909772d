package model

import (
	"slices"
	"time"
)

// Strategy is how an update is carried out.
type Strategy string

// The strategies.
const (
	BlueGreen Strategy = "BLUE_GREEN"
	Replace   Strategy = "REPLACE"
)

// UpdateStatus is what a user sees of an update.
type UpdateStatus string

// The statuses of docs/updates.md.
const (
	Pending         UpdateStatus = "PENDING"
	Started         UpdateStatus = "STARTED"
	Ready           UpdateStatus = "READY"
	UpdateFailed    UpdateStatus = "FAILED"
	Succeeded       UpdateStatus = "SUCCEEDED"
	UpdateCancelled UpdateStatus = "CANCELLED"
)

// Ended says whether the status is an end.
func (s UpdateStatus) Ended() bool {
	return s == UpdateFailed || s == Succeeded || s == UpdateCancelled
}

// Step is where exactly an update is.
type Step string

// The steps of docs/updates.md.
const (
	StepReserve   Step = "RESERVE"
	StepPrepare   Step = "PREPARE"
	StepHoldRoute Step = "HOLD_ROUTE"
	StepStopOld   Step = "STOP_OLD"
	StepAwaitFree Step = "AWAIT_FREE"
	StepBoot      Step = "BOOT"
	StepAttest    Step = "ATTEST"
	StepHealth    Step = "HEALTH"
	StepHold      Step = "HOLD"
	StepSwitch    Step = "SWITCH"
	StepDrain     Step = "DRAIN"
	StepStopNew   Step = "STOP_NEW"
	StepRelease   Step = "RELEASE"
	StepDone      Step = "DONE"
)

// Kind says what kind of move an update is; it is for people, the engine
// treats all alike.
type Kind string

// The kinds of update.
const (
	KindDeploy   Kind = "deploy"
	KindUpdate   Kind = "update"
	KindRollback Kind = "rollback"
	KindRedeploy Kind = "redeploy"
	KindStart    Kind = "start"
	KindRestart  Kind = "restart"
)

// UpdateOptions say how an update is to be carried out.
type UpdateOptions struct {
	Strategy         Strategy      `json:"strategy,omitempty"`
	Hold             bool          `json:"hold,omitempty"`
	AllowDowntime    bool          `json:"allow_downtime,omitempty"`
	RestoreOnFailure bool          `json:"restore_on_failure,omitempty"`
	DrainTimeout     time.Duration `json:"drain_timeout,omitempty"`
	// StartTimeout is the request's own limit from running to healthy; HealthWait
	// is what the config's health checks allow, which counts if it is longer than
	// the coordinator's limit.
	StartTimeout time.Duration `json:"start_timeout,omitempty"`
	HealthWait   time.Duration `json:"health_wait,omitempty"`
}

// StepRecord is one step that was entered.
type StepRecord struct {
	Step    Step      `json:"step"`
	Entered time.Time `json:"entered"`
	Left    time.Time `json:"left,omitzero"`
	Note    string    `json:"note,omitempty"`
}

// Stage is one boot stage of a guest, as its agent reports it.
type Stage struct {
	Name     string        `json:"name"`
	Status   string        `json:"status"`
	Duration time.Duration `json:"duration,omitempty"`
	Reason   string        `json:"reason,omitempty"`
}

// Update is the move of a container from one revision to another.
type Update struct {
	ID        string        `json:"id"`
	Number    int64         `json:"number"`
	Org       string        `json:"org"`
	Container string        `json:"container"`
	UID       string        `json:"uid"`
	Kind      Kind          `json:"kind"`
	Strategy  Strategy      `json:"strategy"`
	Options   UpdateOptions `json:"options"`
	Status    UpdateStatus  `json:"status"`
	Step      Step          `json:"step"`
	// Outcome is what the update will end as; it is set once that is decided, and
	// Status follows when nothing is left running.
	Outcome UpdateStatus `json:"outcome,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Text    string       `json:"text,omitempty"`
	// Old is the enclave that served at the start.
	Old *EnclaveRef `json:"old,omitempty"`
	// OldStopping is set before the old enclave is told to stop, OldGone when its
	// agent has proved that it is gone.
	OldStopping bool `json:"old_stopping,omitempty"`
	OldGone     bool `json:"old_gone,omitempty"`
	// OldSpec and NewSpec are the container's settings before and after.
	OldSpec ContainerSpec `json:"old_spec"`
	NewSpec ContainerSpec `json:"new_spec"`
	// New is the candidate; New.Revision is the revision the update moves to,
	// unless Restoring.
	New        EnclaveRef `json:"new"`
	ToRevision int64      `json:"to_revision"`
	ToTag      string     `json:"to_tag"`
	// Healthy says that the candidate was healthy when last heard of.
	Healthy bool `json:"healthy,omitempty"`
	// Attested says that the coordinator accepted the candidate's evidence.
	Attested bool `json:"attested,omitempty"`
	// Replanned says that the one other try after a refused claim was used.
	// Replanning says that the planner's answer is awaited.
	Replanned  bool `json:"replanned,omitempty"`
	Replanning bool `json:"replanning,omitempty"`
	// HostSilent says that it is asked for a candidate whose host does not answer.
	HostSilent bool `json:"host_silent,omitempty"`
	// HostForgotten says that the candidate's host was given up.
	HostForgotten bool `json:"host_forgotten,omitempty"`
	// Moved says that the candidate was placed elsewhere because its host did not
	// answer: its limits are not set anew.
	Moved bool `json:"moved,omitempty"`
	// CancelRequested is set when a person asked to cancel.
	CancelRequested bool `json:"cancel_requested,omitempty"`
	// Restoring says that New is the previous revision being brought back, and
	// Failed is then the candidate that it follows.
	Restoring bool        `json:"restoring,omitempty"`
	Failed    *EnclaveRef `json:"failed,omitempty"`
	// Switched says that the route was pointed at New.
	Switched bool `json:"switched,omitempty"`
	// Left counts connections to the old enclave while it drains.
	Left int64 `json:"left,omitempty"`
	// PendingUntil and StartedUntil are absolute deadlines of their statuses.
	PendingUntil time.Time `json:"pending_until"`
	StartedUntil time.Time `json:"started_until,omitzero"`
	// Deadline is when the current step has to be over.
	Deadline time.Time    `json:"deadline"`
	Stages   []Stage      `json:"stages,omitempty"`
	Verdict  *Verdict     `json:"verdict,omitempty"`
	Plan     *Plan        `json:"plan,omitempty"`
	History  []StepRecord `json:"history"`
	Created  time.Time    `json:"created"`
	Ended    time.Time    `json:"ended,omitzero"`
	// BootedAt is when the candidate was told to boot, SwitchedAt when traffic
	// went to it.
	BootedAt   time.Time `json:"booted_at,omitzero"`
	SwitchedAt time.Time `json:"switched_at,omitzero"`
}

// Key names the container.
func (u *Update) Key() ContainerKey { return ContainerKey{u.Org, u.Container} }

// Verdict is the coordinator's own judgement of a candidate.
type Verdict struct {
	Accepted  bool      `json:"accepted"`
	Format    string    `json:"format"`
	Checks    []Check   `json:"checks"`
	Insecure  []string  `json:"insecure,omitempty"`
	NotPinned []string  `json:"not_pinned,omitempty"`
	At        time.Time `json:"at"`
}

// Check is one check of a verdict.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Plan is how an update would be carried out, and why.
type Plan struct {
	Strategy  Strategy        `json:"strategy"`
	Reason    string          `json:"reason"`
	Downtime  bool            `json:"downtime"`
	Host      string          `json:"host"`
	Room      Room            `json:"room"`
	Hosts     []HostRoom      `json:"hosts,omitempty"`
	Changes   []Change        `json:"changes,omitempty"`
	Refreshed []string        `json:"refreshed,omitempty"`
	Warnings  []string        `json:"warnings,omitempty"`
	LastBoots []time.Duration `json:"last_boots,omitempty"`
	Revision  int64           `json:"revision,omitempty"`
	Tag       string          `json:"tag"`
	Commit    string          `json:"commit"`
	Etag      string          `json:"etag"`
	// Manifest is that of the release, without its files; Insecure has "unsigned" if
	// there is none.
	Manifest *Manifest `json:"manifest,omitempty"`
	Insecure []string  `json:"insecure,omitempty"`
}

// HostRoom is what a host could give when a plan was made.
type HostRoom struct {
	Host    string `json:"host"`
	Free    Room   `json:"free"`
	Offers  []int  `json:"offers"`
	Fits    bool   `json:"fits"`
	Missing string `json:"missing,omitempty"`
}

// Change is one thing that differs between two revisions.
type Change struct {
	Path string `json:"path"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Clone returns a copy that shares nothing that the engine changes.
func (u *Update) Clone() *Update {
	c := *u
	c.Old = clonePtr(u.Old)
	c.Failed = clonePtr(u.Failed)
	c.History = slices.Clone(u.History)
	return &c
}

// Clone returns a copy that shares nothing that the engine changes.
func (c *Container) Clone() *Container {
	d := *c
	d.Active = clonePtr(c.Active)
	d.Silent = clonePtr(c.Silent)
	d.Teardown = clonePtr(c.Teardown)
	d.Restart = clonePtr(c.Restart)
	d.Leftovers = slices.Clone(c.Leftovers)
	d.Boots = slices.Clone(c.Boots)
	return &d
}

func clonePtr[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
