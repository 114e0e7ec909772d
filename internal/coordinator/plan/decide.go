package plan

import (
	"fmt"
	"strings"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/pkg/attest"
)

// Request is what is to be placed.
type Request struct {
	Room model.Room
	// Old is the enclave that serves now; nil if none does.
	Old *model.EnclaveRef
	// Pin names the only host that may be used; empty for any.
	Pin string
	// Avoid names a host that has just refused the claim.
	Avoid string
	// Strategy is forced if not empty.
	Strategy model.Strategy
	// Platforms are those that the release was measured for; none means any.
	Platforms     []attest.Format
	AllowDowntime bool
	Hold          bool
}

// Decision is the planner's answer.
type Decision struct {
	Strategy model.Strategy
	Host     string
	Reason   string
	Downtime bool
}

// Refused says that the request can't be had. Hosts tell why, per host.
type Refused struct {
	// Reason is NO_CAPACITY, DOWNTIME_REQUIRED, STRATEGY_UNAVAILABLE,
	// HOLD_NEEDS_BLUE_GREEN or HostsJoining.
	Reason string
	Text   string
}

// Error returns the text.
func (r *Refused) Error() string { return r.Text }

// HostsJoining is the reason of a request that can't be answered yet: what comes of
// it hangs on hosts that have not answered since the coordinator has followed them.
// It is worth another try soon.
const HostsJoining = "HOSTS_JOINING"

// Decide chooses strategy and host by the rules of docs/updates.md: beside what
// runs if there is room anywhere; otherwise in place of the old version, if that
// frees what is missing and the downtime is permitted. Neither a refusal nor
// downtime is decided on while a host that might do better has yet to answer.
func Decide(hosts Hosts, r Request) (Decision, error) {
	d, err := decide(hosts, r)
	if err == nil && !d.Downtime {
		return d, nil
	}
	if names := joining(hosts, r); len(names) > 0 {
		return Decision{}, &Refused{HostsJoining, fmt.Sprintf("where there is room for %s can't be told yet: %s since this coordinator follows them; try again in a few seconds", rooms(r.Room), unheard(names))}
	}
	return d, err
}

// joining names the hosts that have yet to answer, and on which the answer to a
// request hangs.
func joining(hosts Hosts, r Request) []string {
	var names []string
	for h := range hosts.all {
		switch {
		case !h.Joining, h.Name == r.Avoid, r.Pin != "" && h.Name != r.Pin:
		case r.Strategy == model.Replace && (r.Old == nil || h.Name != r.Old.Host):
			// A replace that is asked for stays where it is.
		default:
			names = append(names, h.Name)
		}
	}
	return names
}

func unheard(names []string) string {
	if n := len(names) - named; n > 0 {
		return fmt.Sprintf("hosts %s and %d more have not answered", strings.Join(names[:named], ", "), n)
	}
	return fmt.Sprintf("hosts %s have not answered", strings.Join(names, ", "))
}

func decide(hosts Hosts, r Request) (Decision, error) {
	beside := best(hosts, r)
	if r.Strategy != model.Replace && beside != nil {
		return besideDecision(beside, r), nil
	}
	if r.Old == nil {
		if r.Strategy == model.Replace {
			return Decision{}, &Refused{"STRATEGY_UNAVAILABLE", "nothing runs that could be replaced: leave the strategy out"}
		}
		return Decision{}, noCapacity(hosts, r)
	}
	if r.Strategy == model.BlueGreen {
		return Decision{}, &Refused{"STRATEGY_UNAVAILABLE", "no host has room for a second copy, so blue-green can't be had: " + why(hosts, r)}
	}
	return replace(hosts, r)
}

func besideDecision(h *Host, r Request) Decision {
	d := Decision{Strategy: model.BlueGreen, Host: h.Name}
	switch {
	case r.Old == nil:
		d.Reason = fmt.Sprintf("host %s has room (%s)", h.Name, rooms(r.Room))
	default:
		d.Reason = fmt.Sprintf("host %s has room for a second copy (%s): the old version serves until the new one is ready", h.Name, rooms(r.Room))
	}
	return d
}

// replace stops the old version first, on the host where it runs.
func replace(hosts Hosts, r Request) (Decision, error) {
	h := byName(hosts, r.Old.Host)
	if h == nil || (r.Pin != "" && r.Pin != h.Name) {
		return Decision{}, noCapacity(hosts, r)
	}
	freed := h.after(r.Old.Room)
	if freed.missing(r) != "" {
		return Decision{}, noCapacity(hosts, r)
	}
	if r.Hold {
		return Decision{}, &Refused{"HOLD_NEEDS_BLUE_GREEN", "a held update needs room for a second copy, which no host has: " + why(hosts, r) + "; update without hold"}
	}
	if r.Room.GPUs <= 1 && !r.AllowDowntime && r.Strategy != model.Replace {
		return Decision{}, &Refused{"DOWNTIME_REQUIRED", "no host has room for a second copy, so the old version would have to stop first: " + why(hosts, r) + "; allow the downtime (--allow-downtime) or free some room"}
	}
	return Decision{
		Strategy: model.Replace, Host: h.Name, Downtime: true,
		Reason: replaceReason(hosts, r, h),
	}, nil
}

func replaceReason(hosts Hosts, r Request, h *Host) string {
	if r.Strategy == model.Replace {
		return fmt.Sprintf("replace was asked for: the old version on host %s stops first", h.Name)
	}
	return fmt.Sprintf("no host has room for a second copy (%s): the old version on host %s stops first, there is downtime until the new one is ready", why(hosts, r), h.Name)
}

func best(hosts Hosts, r Request) *Host {
	var found *Host
	for h := range hosts.all {
		if r.Pin != "" && h.Name != r.Pin || h.Name == r.Avoid && r.Avoid != "" {
			continue
		}
		// They come by name: of two that are equally good the first is taken.
		if (found == nil || h.better(found)) && h.fits(&r) {
			found = h
		}
	}
	return found
}

// fits is missing(r) == "" without the words, for the thousands of hosts that a
// plan looks at.
func (h *Host) fits(r *Request) bool {
	room := r.Room
	if h.Down != "" || h.Free.CPUs < room.CPUs || h.Free.MemoryMiB < room.MemoryMiB || !h.measured(r.Platforms) {
		return false
	}
	return room.GPUs == 0 || h.gives(room.GPUs)
}

func byName(hosts Hosts, name string) *Host {
	for h := range hosts.all {
		if h.Name == name {
			return h
		}
	}
	return nil
}

func noCapacity(hosts Hosts, r Request) error {
	if r.Pin != "" && byName(hosts, r.Pin) == nil {
		return &Refused{"NO_CAPACITY", fmt.Sprintf("host %s is not known: see `casemate host list`", r.Pin)}
	}
	if hosts.count() == 0 {
		return &Refused{"NO_CAPACITY", "there are no hosts: add one with `casemate host add`"}
	}
	return &Refused{"NO_CAPACITY", fmt.Sprintf("no host has room for %s: %s", rooms(r.Room), why(hosts, r))}
}

// named is how many hosts a reason names.
const named = 10

func why(hosts Hosts, r Request) string {
	var parts []string
	for h := range hosts.all {
		if r.Pin != "" && h.Name != r.Pin {
			continue
		}
		if len(parts) == named {
			parts = append(parts, fmt.Sprintf("and %d more hosts", hosts.count()-named))
			break
		}
		missing := h.missing(r)
		if missing == "" && h.Name == r.Avoid {
			missing = "refused the claim"
		}
		if missing == "" {
			missing = "has room"
		}
		parts = append(parts, h.Name+": "+missing)
	}
	return strings.Join(parts, "; ")
}

func rooms(r model.Room) string {
	return fmt.Sprintf("%d GPUs, %d vCPUs, %d MiB", r.GPUs, r.CPUs, r.MemoryMiB)
}

// keptRooms is how many hosts a stored plan describes.
const keptRooms = 100

// Rooms describes the hosts for the plan that is shown and stored, those that
// fit first.
func Rooms(hosts Hosts, r Request) []model.HostRoom {
	var fit, rest []model.HostRoom
	for h := range hosts.all {
		if len(fit) == keptRooms {
			break
		}
		if !h.fits(&r) {
			if len(rest) < keptRooms {
				rest = append(rest, model.HostRoom{Host: h.Name, Free: h.Free, Offers: h.Offers, Missing: h.missing(r)})
			}
			continue
		}
		fit = append(fit, model.HostRoom{Host: h.Name, Free: h.Free, Offers: h.Offers, Fits: true})
	}
	all := append(fit, rest...)
	return all[:min(len(all), keptRooms)]
}
