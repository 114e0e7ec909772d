package tdx

import "errors"

// relaunch tells whether a TD that counts as outdated runs on a platform which
// has been brought up to date since the TD was launched: TEE_TCB_SVN is of the
// launch, TEE_TCB_SVN_2 of now. Rules from Intel's quote verification library,
// 4.1.2.4.17.4.3; sgx is the status of the first level whose SGX part matches.
func relaunch(t *tcbInfo, sgx Status, r *tcbResult, now [16]byte) (Status, error) {
	outdated := r.status == OutOfDate || r.status == OutOfDateConfigurationNeeded
	if !outdated || r.module != OutOfDate || !current(sgx) || r.qe != UpToDate {
		return r.status, nil
	}
	latest := &t.levels[0]
	floor := latest.tdx[0]
	if now[1] != 0 {
		m, err := t.findModule(now[1])
		if err != nil {
			return "", err
		}
		if len(m.levels) == 0 {
			return "", errors.New("TCB info has no TCB level for the TDX module that runs now")
		}
		floor = byte(min(m.levels[0].isvsvn, 0xff))
	}
	switch {
	case now[0] < floor || now[2] < latest.tdx[2]:
		return r.status, nil
	case sgx.needsConfiguration() || r.status.needsConfiguration():
		return TDRelaunchAdvisedConfigurationNeeded, nil
	}
	return TDRelaunchAdvised, nil
}

// current tells whether a status means that no update is missing.
func current(s Status) bool {
	switch s {
	case UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded:
		return true
	}
	return false
}
