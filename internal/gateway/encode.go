package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// diskFormat is the version of the routes file.
const diskFormat = 1

// errCorrupt says that the routes file as a whole means nothing.
var errCorrupt = errors.New("routes file is corrupt")

// diskFile is the routes file. Entries are decoded one by one, so that a bad one
// takes no other with it.
type diskFile struct {
	Format     int               `json:"format"`
	ClusterID  string            `json:"cluster_id"`
	Epoch      int64             `json:"epoch"`
	Routes     []json.RawMessage `json:"routes"`
	Tombstones []json.RawMessage `json:"tombstones"`
}

// routeJSON is a route on disk and in the admin listing.
type routeJSON struct {
	Domain      string `json:"domain"`
	Generation  int64  `json:"generation"`
	State       State  `json:"state"`
	Enclave     string `json:"enclave,omitempty"`
	Endpoint    string `json:"endpoint,omitempty"`
	Container   string `json:"container,omitempty"`
	HoldTimeout string `json:"hold_timeout,omitempty"`
}

type tombstoneJSON struct {
	Domain     string `json:"domain"`
	Generation int64  `json:"generation"`
}

func (r Route) toJSON() routeJSON {
	j := routeJSON{
		Domain: r.Domain, Generation: r.Generation, State: r.State,
		Enclave: r.Enclave, Endpoint: r.Endpoint, Container: r.Container,
	}
	if r.HoldTimeout != 0 {
		j.HoldTimeout = r.HoldTimeout.String()
	}
	return j
}

func (j routeJSON) toRoute() (Route, error) {
	r := Route{
		Domain: j.Domain, Generation: j.Generation, State: j.State,
		Enclave: j.Enclave, Endpoint: j.Endpoint, Container: j.Container,
	}
	if j.HoldTimeout != "" {
		d, err := time.ParseDuration(j.HoldTimeout)
		if err != nil {
			return Route{}, fmt.Errorf("hold_timeout: %w", err)
		}
		r.HoldTimeout = d
	}
	return r.Normalize()
}

// encode renders what is held, in an order that depends on nothing else.
func (h held) encode() ([]byte, error) {
	f := diskFile{
		Format: diskFormat, ClusterID: h.clusterID, Epoch: h.epoch,
		Routes: []json.RawMessage{}, Tombstones: []json.RawMessage{},
	}
	for _, domain := range sortedKeys(h.routes) {
		raw, err := json.Marshal(h.routes[domain].toJSON())
		if err != nil {
			return nil, fmt.Errorf("encode route %s: %w", domain, err)
		}
		f.Routes = append(f.Routes, raw)
	}
	for _, domain := range sortedKeys(h.deleted) {
		raw, err := json.Marshal(tombstoneJSON{Domain: domain, Generation: h.deleted[domain]})
		if err != nil {
			return nil, fmt.Errorf("encode tombstone %s: %w", domain, err)
		}
		f.Tombstones = append(f.Tombstones, raw)
	}
	out, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode routes: %w", err)
	}
	if len(out) >= maxDisk {
		return nil, fmt.Errorf("encode routes: %d bytes are more than the %d a gateway reads", len(out), maxDisk)
	}
	return append(out, '\n'), nil
}

// decodeHeld reads a routes file. Entries that can't be used are left out and
// returned as errors, one each; a file that can't be used at all is errCorrupt.
// Every route comes back unconfirmed.
func decodeHeld(raw []byte) (held, []error, error) {
	var f diskFile
	if err := strictJSON(raw, &f); err != nil {
		return held{}, nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	if f.Format != diskFormat {
		return held{}, nil, fmt.Errorf("%w: format %d, this gateway reads %d", errCorrupt, f.Format, diskFormat)
	}
	if len(f.ClusterID) > maxText || f.Epoch < 0 || len(f.Routes) > maxRoutes || len(f.Tombstones) > maxTombstones {
		return held{}, nil, fmt.Errorf("%w: its header or the number of its entries is out of bounds", errCorrupt)
	}
	h := newHeld(f.ClusterID)
	h.epoch = f.Epoch
	var bad []error
	for i, entry := range f.Tombstones {
		if err := h.loadTombstone(entry); err != nil {
			bad = append(bad, fmt.Errorf("tombstone %d: %w", i, err))
		}
	}
	for i, entry := range f.Routes {
		if err := h.loadRoute(entry); err != nil {
			bad = append(bad, fmt.Errorf("route %d: %w", i, err))
		}
	}
	return h, bad, nil
}

func (h *held) loadRoute(entry []byte) error {
	var j routeJSON
	if err := strictJSON(entry, &j); err != nil {
		return err
	}
	r, err := j.toRoute()
	if err != nil {
		return err
	}
	if _, ok := h.routes[r.Domain]; ok {
		return fmt.Errorf("domain %s occurs twice", r.Domain)
	}
	if gone, ok := h.deleted[r.Domain]; ok && r.Generation <= gone {
		return fmt.Errorf("route %s of generation %d was deleted at %d", r.Domain, r.Generation, gone)
	}
	h.routes[r.Domain] = r
	h.unconfirmed[r.Domain] = true
	return nil
}

func (h *held) loadTombstone(entry []byte) error {
	var j tombstoneJSON
	if err := strictJSON(entry, &j); err != nil {
		return err
	}
	domain, err := NormalizeDomain(j.Domain)
	if err != nil {
		return err
	}
	if j.Generation < 1 {
		return fmt.Errorf("tombstone %s: generation %d is below 1", domain, j.Generation)
	}
	h.deleted[domain] = max(j.Generation, h.deleted[domain])
	return nil
}

// strictJSON decodes exactly one value with known fields only.
func strictJSON(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}
