package gateway

// Table is a set of routes that never changes. Connections look it up without a
// lock; a change is another table.
type Table struct {
	entries map[string]*entry
	// epoch and clusterID are those of the batch that made the table.
	clusterID string
	epoch     int64
	// unconfirmed are the domains the source has not vouched for.
	unconfirmed map[string]bool
}

// lookup returns the entry for a domain in normal form, or nil.
func (t *Table) lookup(name []byte) *entry { return t.entries[string(name)] }

// Len is the number of routes.
func (t *Table) Len() int { return len(t.entries) }

// Route returns the route of a domain in normal form.
func (t *Table) Route(domain string) (Route, bool) {
	e, ok := t.entries[domain]
	if !ok {
		return Route{}, false
	}
	return e.route, true
}

// Routes lists all routes by domain.
func (t *Table) Routes() []Route {
	out := make([]Route, 0, len(t.entries))
	for _, domain := range sortedKeys(t.entries) {
		out = append(out, t.entries[domain].route)
	}
	return out
}

// Unconfirmed tells whether the source has not named the domain since the
// gateway started, or left it out of its last complete listing. The route is
// served all the same.
func (t *Table) Unconfirmed(domain string) bool { return t.unconfirmed[domain] }

// succeed builds the table for what is held next. Entries of unchanged routes
// are kept, with their connections; the replaced ones are returned.
func (t *Table) succeed(next held, tallyFor func(string) *tally) (*Table, []*entry) {
	n := &Table{
		entries:     make(map[string]*entry, len(next.routes)),
		clusterID:   next.clusterID,
		epoch:       next.epoch,
		unconfirmed: next.unconfirmed,
	}
	var replaced []*entry
	for domain, r := range next.routes {
		old := t.entries[domain]
		if old != nil && old.route == r {
			n.entries[domain] = old
			continue
		}
		n.entries[domain] = newEntry(r, tallyFor(r.Enclave))
		if old != nil {
			replaced = append(replaced, old)
		}
	}
	for domain, old := range t.entries {
		if _, ok := next.routes[domain]; !ok {
			replaced = append(replaced, old)
		}
	}
	return n, replaced
}
