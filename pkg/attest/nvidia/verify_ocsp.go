package nvidia

import (
	"crypto/x509"
	"fmt"
	"time"
)

// wantsOCSP tells whether revocation is looked at: unless the policy says no, or
// permits that there are no responses.
func (r *run) wantsOCSP() bool {
	wants := r.policy.RequireOCSP == nil && (r.responses != nil || !r.policy.PermitUnpinned) ||
		r.policy.RequireOCSP != nil && *r.policy.RequireOCSP
	if !wants {
		r.unpin("ocsp")
	}
	return wants
}

// checkDeviceOCSP looks at all certificates between leaf and root: devices make
// the leaf themselves, so that nobody keeps a record of it.
func (r *run) checkDeviceOCSP(d *device) {
	if r.wantsOCSP() {
		r.checkOCSP(d.name+"device_ocsp_", d.id.certs[1:], d.id.issuers[1:])
	}
}

// statement is a response whose signature was verified.
type statement struct {
	cert   *x509.Certificate
	status certStatus
	until  time.Time
	late   time.Duration // how long after NextUpdate, within the policy's grace
}

// checkOCSP makes the five checks of a chain's revocation. Each looks at every
// certificate that has an issuer; one that fails ends the series.
func (r *run) checkOCSP(name string, certs []*x509.Certificate, issuers []issuer) {
	entries, err := r.findOCSP(certs, issuers)
	if !r.verdict.Report(name+"response", err, "%d certificates have one", len(issuers)) {
		return
	}
	windows, err := r.verifyAllOCSP(entries, certs, issuers)
	if !r.verdict.Report(name+"signature", err, "signed by the issuers or their responders") {
		return
	}
	said, err := r.freshOCSP(entries, windows, certs)
	if !r.verdict.Report(name+"fresh", err, "%s", freshness(said)) {
		return
	}
	if r.verdict.Report(name+"good", notRevoked(said), "none is revoked or unknown") {
		r.checkHold(name+"hold", said)
	}
}

func (r *run) findOCSP(certs []*x509.Certificate, issuers []issuer) ([]ocspEntry, error) {
	out := make([]ocspEntry, len(issuers))
	for i := range issuers {
		if r.responses == nil {
			return nil, fmt.Errorf("no responses were given; the policy requires them")
		}
		e, ok := r.responses.find(certs[i], &issuers[i], r.at)
		if !ok {
			return nil, fmt.Errorf("no response from before %s for %q (serial %x): fetch it from the issuer's responder", date(r.at), certs[i].Subject.CommonName, certs[i].SerialNumber)
		}
		out[i] = e
	}
	return out, nil
}

// verifyAllOCSP verifies signatures, or takes the results from the cache.
func (r *run) verifyAllOCSP(entries []ocspEntry, certs []*x509.Certificate, issuers []issuer) ([]window, error) {
	out := make([]window, len(entries))
	for i, e := range entries {
		var both [2 * len(digest{})]byte
		copy(both[copy(both[:], e.digest[:]):], issuers[i].digest[:])
		key := digestOf(both[:])
		if w, ok := r.ocsp.get(key, r.at); ok {
			out[i] = w
			continue
		}
		w, err := verifyOCSP(e.response, issuers[i].cert)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", certs[i].Subject.CommonName, err)
		}
		r.ocsp.put(key, w, e.single.NextUpdate.Add(r.policy.OCSPGrace))
		out[i] = w
	}
	return out, nil
}

// freshOCSP checks that each response is still to be believed, and was signed by
// a responder whose certificate was valid from then until now (or, in the time of
// grace, until the response ended).
func (r *run) freshOCSP(entries []ocspEntry, windows []window, certs []*x509.Certificate) ([]statement, error) {
	out := make([]statement, len(entries))
	for i, e := range entries {
		end := e.single.NextUpdate
		cn := certs[i].Subject.CommonName
		late := max(0, r.at.Sub(end))
		if late > r.policy.OCSPGrace {
			return nil, fmt.Errorf("%s: the response was good until %s, %s ago; ocsp_grace is %s", cn, date(end), late, r.policy.OCSPGrace)
		}
		believed := r.at
		if late > 0 {
			believed = end
		}
		// ThisUpdate may be ahead by the clock skew that was allowed for.
		if w := windows[i]; !w.holds(e.single.ThisUpdate) || believed.After(w.to) {
			return nil, fmt.Errorf("%s: the responder's certificate is valid from %s to %s only", cn, date(w.from), date(w.to))
		}
		status, err := e.single.status()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", cn, err)
		}
		out[i] = statement{certs[i], status, end, late}
	}
	return out, nil
}

// freshness says how long the statements hold, or how much too old they are.
func freshness(said []statement) string {
	var until time.Time
	var late time.Duration
	for _, s := range said {
		late = max(late, s.late)
		if until.IsZero() || s.until.Before(until) {
			until = s.until
		}
	}
	if late > 0 {
		return fmt.Sprintf("stale since %s, by %s; within ocsp_grace", date(until), late)
	}
	return "good until " + date(until)
}

func notRevoked(said []statement) error {
	for _, s := range said {
		if s.status == statusRevoked || s.status == statusUnknown {
			return fmt.Errorf("%q (serial %x) is %s", s.cert.Subject.CommonName, s.cert.SerialNumber, s.status)
		}
	}
	return nil
}

// checkHold is apart from revocation, as a hold may be lifted and may be allowed.
func (r *run) checkHold(name string, said []statement) {
	for _, s := range said {
		if s.status != statusHold {
			continue
		}
		if r.policy.AllowHold {
			r.verdict.Pass(name, "%q is on hold; the policy allows it", s.cert.Subject.CommonName)
		} else {
			r.verdict.Fail(name, "%q (serial %x) is on hold; allow_hold is off", s.cert.Subject.CommonName, s.cert.SerialNumber)
		}
		return
	}
	r.verdict.Pass(name, "none is on hold")
}
