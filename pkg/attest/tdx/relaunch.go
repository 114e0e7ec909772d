package tdx

import "errors"

// relaunch tells whether a TD that counts as outdated runs on a platform which
// has been brought up to date since the TD was launched: TEE_TCB_SVN is of the
// launch, TEE_TCB_SVN_2 of now. Rules from Intel's quote verification library,
// 4.1.2.4.17.4.3; sgx is the status of the first level whose SGX part matches.
func relaunch(t *tcbInfo, sgx Status, r *tcbResult, now [16]byte) (Status, error) {
	if _, known := statusTraits[sgx]; !known {
		return r.status, nil
	}
	if !r.status.has(traitOutdated) || r.module != OutOfDate || r.qe != UpToDate || sgx.has(traitOutdated|traitRevoked) {
		return r.status, nil
	}
	latest := &t.levels[0]
	floor := uint16(latest.tdx[0])
	if now[1] != 0 {
		m, err := t.findModule(now[1])
		if err != nil {
			return "", err
		}
		if len(m.levels) == 0 {
			return "", errors.New("TCB info has no TCB level for the TDX module that runs now")
		}
		floor = m.levels[0].isvsvn
	}
	switch {
	case uint16(now[0]) < floor || now[2] < latest.tdx[2]:
		return r.status, nil
	case sgx.has(traitConfiguration) || r.status.has(traitConfiguration):
		return TDRelaunchAdvisedConfigurationNeeded, nil
	}
	return TDRelaunchAdvised, nil
}
