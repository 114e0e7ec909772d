package nvidia

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// comparesRIMs tells whether golden measurements are compared: unless the policy
// says no, or permits that there are no RIMs.
func (r *run) comparesRIMs() bool {
	if r.policy.RequireRIMs != nil {
		return *r.policy.RequireRIMs
	}
	return r.ids != nil || !r.policy.PermitUnpinned
}

// checkRIMs verifies the RIMs that a device needs and compares its measurements.
// It compares them with a RIM that is refused as well: that both differ is worth
// knowing, and nothing can be accepted any more.
func (r *run) checkRIMs(d *device) {
	if !r.comparesRIMs() {
		r.unpin("rims")
		return
	}
	var rims []*RIM
	complete := true
	for _, kind := range rimKinds(d.id.arch) {
		rim := r.checkRIM(d, kind)
		complete = complete && rim != nil
		rims = append(rims, rim)
	}
	if !complete {
		return
	}
	if r.report(d, "measurement_overlap", checkOverlap(rims), "no index is demanded twice") {
		n, err := compareMeasurements(d.report, rims)
		r.report(d, "measurements", err, "%d match", n)
	}
}

// checkRIM finds and verifies one RIM. It returns nil if there is none that can
// be read.
func (r *run) checkRIM(d *device, kind rimKind) *RIM {
	doc, id, err := r.findRIM(d, kind)
	if !r.report(d, kind.name+"found", err, "%s", id) {
		return nil
	}
	rim := r.verifyRIM(d.name+kind.name, doc)
	if rim == nil {
		return nil
	}
	r.report(d, kind.name+"version", checkRIMVersion(d, kind, rim), "%s", rim.Version)
	r.report(d, kind.name+"product", checkRIMProduct(d, rim), "%s", rim.Product)
	if rim.certs != nil && r.wantsOCSP() {
		r.checkOCSP(d.name+kind.name+"ocsp_", rim.certs, rim.issuers)
	}
	return rim
}

func (r *run) findRIM(d *device, kind rimKind) (rimDocument, string, error) {
	id, err := kind.id(d.id.arch, d.report.Opaque)
	if err != nil {
		return rimDocument{}, "", err
	}
	if r.ids == nil {
		return rimDocument{}, id, fmt.Errorf("RIM %s: none were given; the policy requires them", id)
	}
	version, err := kind.version(d.id.arch, d.report.Opaque)
	if err != nil {
		return rimDocument{}, id, err
	}
	product, err := rimProduct(d.id.arch, d.report.Opaque)
	if err != nil {
		return rimDocument{}, id, err
	}
	doc, err := r.ids.find(id, rimSubject{version, product, d.id.arch.IsSwitch()})
	return doc, id, err
}

// verifyRIM checks form, chain, root, time and signature. What doesn't depend on
// time or policy it takes from the cache, if it is there.
func (r *run) verifyRIM(name string, doc rimDocument) *RIM {
	rim, cached := r.rims.get(doc.digest, r.at)
	var err error
	if !cached {
		rim, err = ParseRIM(doc.raw)
	}
	if !r.verdict.Report(name+"format", err, "SWID with one enveloped XML signature") {
		return nil
	}
	if !cached {
		err = rim.verifyChain(r.rimRoots)
	}
	if !r.verdict.Report(name+"chain", err, "%d certificates, all signatures verify", rimChainLength) {
		return rim
	}
	r.checkRoot(name+"root", rim.anchor, nvidiaRIMAnchor, r.policy.RIMRoots, "rim_roots")
	r.checkRIMTime(name+"time", rim)
	if !cached {
		err = rim.verifySignature()
	}
	if r.verdict.Report(name+"signature", err, "ECDSA P-384 over the whole document") && !cached {
		r.keepRIM(doc.digest, rim)
	}
	return rim
}

func (r *run) keepRIM(key digest, rim *RIM) {
	rim.root, rim.signature = nil, nil
	// A RIM may be in use after its signer has expired; see RIMTime.
	expires := rim.valid.to
	if r.at.After(expires) {
		expires = r.at.Add(24 * time.Hour)
	}
	r.rims.put(key, rim, expires)
}

func (r *run) checkRIMTime(name string, rim *RIM) {
	signer := rim.certs[0]
	var err error
	detail := "signer valid until " + date(signer.NotAfter)
	switch r.policy.RIMTime {
	case RIMTimeNotChecked:
		r.unpin("rim_time")
		detail += "; the policy compares no time"
	case RIMTimeSignerExpired:
		w := validity(rim.certs[1:])
		w.from = validity(rim.certs).from
		err = checkTime(w, r.at)
		if r.at.After(signer.NotAfter) {
			r.unpin("rim_time")
			detail += "; it has expired, which the policy allows"
		}
	default:
		err = checkTime(rim.valid, r.at)
	}
	r.verdict.Report(name, err, "%s", detail)
}

func checkRIMVersion(d *device, kind rimKind, rim *RIM) error {
	want, err := kind.version(d.id.arch, d.report.Opaque)
	if err != nil {
		return err
	}
	if !strings.EqualFold(rim.Version, want) {
		return fmt.Errorf("the RIM is for %.40q, the report names %s", rim.Version, want)
	}
	return nil
}

func checkRIMProduct(d *device, rim *RIM) error {
	want, err := rimProduct(d.id.arch, d.report.Opaque)
	if err != nil {
		return err
	}
	edition := "GPU"
	if d.id.arch.IsSwitch() {
		edition = "SWITCH"
	}
	switch {
	case rim.Product != want:
		return fmt.Errorf("the RIM is for a %.40q, the device is a %s", rim.Product, want)
	case d.id.arch.IsSwitch() != (rim.Edition == "SWITCH"):
		return errors.New("the RIM's edition is " + rim.Edition + ", want " + edition)
	}
	return nil
}
