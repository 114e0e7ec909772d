package gateway

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// maxRoutes bounds the table, maxTombstones what is remembered of deleted
// routes: far above what one fleet has, far below what memory holds.
const (
	maxRoutes     = 100_000
	maxTombstones = 100_000
)

// held is everything a gateway knows of routes: what is written to disk. It is
// changed only through plan, which returns another one.
type held struct {
	clusterID string
	epoch     int64
	routes    map[string]Route
	// deleted has the generation of each tombstone.
	deleted map[string]int64
	// unconfirmed are routes that the source has not named since the gateway
	// started, or left out of its last complete listing.
	unconfirmed map[string]bool
}

func newHeld(clusterID string) held {
	return held{
		clusterID:   clusterID,
		routes:      map[string]Route{},
		deleted:     map[string]int64{},
		unconfirmed: map[string]bool{},
	}
}

// plan returns what is held after the batch, and the answer to it. It changes
// nothing itself. An error refuses the batch whole.
func (h held) plan(b Batch) (held, Ack, error) {
	if err := b.check(h.clusterID, h.epoch); err != nil {
		return held{}, Ack{}, err
	}
	next := held{
		clusterID:   b.ClusterID,
		epoch:       b.Epoch,
		routes:      maps.Clone(h.routes),
		deleted:     maps.Clone(h.deleted),
		unconfirmed: maps.Clone(h.unconfirmed),
	}
	ack := Ack{ClusterID: b.ClusterID, Epoch: b.Epoch, Applied: map[string]int64{}}
	if b.Complete {
		for domain := range next.routes {
			next.unconfirmed[domain] = true
		}
	}
	for _, r := range b.Routes {
		next.take(r, &ack)
	}
	for _, t := range b.Deleted {
		next.bury(t, &ack)
	}
	next.trim()
	return next, ack, nil
}

// take puts one route into force, or says in the answer why not.
func (h *held) take(r Route, ack *Ack) {
	n, err := r.Normalize()
	if err != nil {
		ack.refuse(clip(r.Domain), r.Generation, 0, err.Error())
		return
	}
	if gone, ok := h.deleted[n.Domain]; ok && n.Generation <= gone {
		ack.refuse(n.Domain, n.Generation, gone, "deleted at a generation that is not older")
		return
	}
	old, ok := h.routes[n.Domain]
	switch {
	case ok && n.Generation < old.Generation:
		ack.refuse(n.Domain, n.Generation, old.Generation, "a newer generation is in force")
		ack.Applied[n.Domain] = old.Generation
		return
	case ok && n.Generation == old.Generation && n != old:
		ack.refuse(n.Domain, n.Generation, old.Generation, "another route has this generation")
		return
	case !ok && len(h.routes) >= maxRoutes:
		ack.refuse(n.Domain, n.Generation, 0, fmt.Sprintf("the table is full with %d routes", maxRoutes))
		return
	}
	h.routes[n.Domain] = n
	delete(h.deleted, n.Domain)
	delete(h.unconfirmed, n.Domain)
	ack.Applied[n.Domain] = n.Generation
}

// bury deletes one route, or says in the answer why not.
func (h *held) bury(t Tombstone, ack *Ack) {
	domain, err := NormalizeDomain(t.Domain)
	if err != nil {
		ack.refuse(clip(t.Domain), t.Generation, 0, err.Error())
		return
	}
	if t.Generation < 1 {
		ack.refuse(domain, t.Generation, h.routes[domain].Generation, "a tombstone needs a generation of at least 1")
		return
	}
	if old, ok := h.routes[domain]; ok && t.Generation < old.Generation {
		ack.refuse(domain, t.Generation, old.Generation, "a newer generation is in force")
		ack.Applied[domain] = old.Generation
		return
	}
	delete(h.routes, domain)
	delete(h.unconfirmed, domain)
	h.deleted[domain] = max(t.Generation, h.deleted[domain])
	ack.Applied[domain] = h.deleted[domain]
}

// trim forgets tombstones beyond the bound, those with the lowest generations
// first: generations of one coordinator grow together, so they are the oldest.
func (h *held) trim() {
	excess := len(h.deleted) - maxTombstones
	if excess <= 0 {
		return
	}
	domains := slices.Collect(maps.Keys(h.deleted))
	slices.SortFunc(domains, func(a, b string) int { return cmp.Compare(h.deleted[a], h.deleted[b]) })
	for _, d := range domains[:excess] {
		delete(h.deleted, d)
	}
}

func (a *Ack) refuse(domain string, generation, inForce int64, reason string) {
	a.Refused = append(a.Refused, Refusal{Domain: domain, Generation: generation, Held: inForce, Reason: reason})
}

// sameOnDisk tells whether both are written as the same file.
func (h held) sameOnDisk(o held) bool {
	return h.clusterID == o.clusterID && h.epoch == o.epoch &&
		maps.Equal(h.routes, o.routes) && maps.Equal(h.deleted, o.deleted)
}
