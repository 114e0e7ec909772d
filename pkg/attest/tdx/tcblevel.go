package tdx

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// tcbResult is what TCB info and QE identity say of a quote.
type tcbResult struct {
	status                   Status // of everything together
	platform, module, qe     Status
	date, moduleDate, qeDate time.Time // zero where no level applies
	advisories               []string
}

// evaluateTCB follows the TCB matching rules for TDX (PCS API v4, "Get TDX TCB
// Info", and section 4.1.2.4.17 of Intel's quote verification library): the
// platform's level by SGX components and PCESVN of the PCK certificate and by
// the report's TEE_TCB_SVN, the module's level by TEE_TCB_SVN[1], the quoting
// enclave's by its ISVSVN; then the statuses converge.
func evaluateTCB(t *tcbInfo, qe *qeIdentity, pck *PCKExtensions, q *Quote) (*tcbResult, error) {
	sgx, platform := matchPlatform(t.levels, pck, q.Body.TEETCBSVN)
	if sgx == nil || platform == nil {
		return nil, errors.New("the platform is below every TCB level that Intel lists")
	}
	module, err := matchModuleLevel(t, q.Body.TEETCBSVN)
	if err != nil {
		return nil, err
	}
	enclave := matchISVSVN(qe.levels, q.QEReport.ISVSVN)
	if enclave == nil {
		return nil, fmt.Errorf("the quoting enclave's SVN %d is below every level that Intel lists", q.QEReport.ISVSVN)
	}
	r := &tcbResult{
		platform: platform.status, module: module.status, qe: enclave.status,
		date: platform.date, moduleDate: module.date, qeDate: enclave.date,
	}
	for _, l := range []*tcbLevel{platform, module, enclave} {
		r.addAdvisories(l.advisories)
	}
	r.status = platform.status.converge(module.status)
	if r.status != Revoked && q.Body.Type == bodyTypeTD15 {
		if r.status, err = relaunch(t, sgx.status, r, q.Body.TEETCBSVN2); err != nil {
			return nil, err
		}
	}
	r.status = r.status.converge(enclave.status)
	return r, nil
}

func (r *tcbResult) addAdvisories(ids []string) {
	for _, id := range ids {
		if !slices.Contains(r.advisories, id) {
			r.advisories = append(r.advisories, id)
		}
	}
}

// matchPlatform returns the first level whose SGX part the platform reaches, and
// the first whose TDX part it reaches as well.
func matchPlatform(levels []tcbLevel, pck *PCKExtensions, svn [16]byte) (sgx, tdx *tcbLevel) {
	for i := range levels {
		l := &levels[i]
		if !atLeast(pck.ComponentSVNs[:], l.sgx[:]) || pck.PCESVN < l.pcesvn {
			continue
		}
		if sgx == nil {
			sgx = l
		}
		// With a module version in SVN[1], SVN[0] and [1] are the module's and
		// are matched by its identity.
		first := 0
		if svn[1] > 0 {
			first = 2
		}
		if atLeast(svn[first:], l.tdx[first:]) {
			return sgx, l
		}
	}
	return sgx, nil
}

// matchModuleLevel returns the level of the TDX module: version 0 has none of its
// own and is judged with the platform.
func matchModuleLevel(t *tcbInfo, svn [16]byte) (*tcbLevel, error) {
	if svn[1] == 0 {
		return &tcbLevel{status: UpToDate}, nil
	}
	m, err := t.findModule(svn[1])
	if err != nil {
		return nil, err
	}
	if l := matchISVSVN(m.levels, uint16(svn[0])); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("the TDX module's SVN %d is below every level that Intel lists for %s", svn[0], m.id)
}

func matchISVSVN(levels []tcbLevel, svn uint16) *tcbLevel {
	for i := range levels {
		if svn >= levels[i].isvsvn {
			return &levels[i]
		}
	}
	return nil
}

// atLeast tells whether every element of got is at least that of floor.
func atLeast(got, floor []byte) bool {
	for i := range floor {
		if got[i] < floor[i] {
			return false
		}
	}
	return true
}
