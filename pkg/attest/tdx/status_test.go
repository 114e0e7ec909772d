package tdx_test

import (
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

var (
	newestSGX = [16]byte{3, 3, 2, 2, 4, 1, 0, 5}
	oldestSGX = [16]byte{2, 2, 2, 2, 3, 1, 0, 5}
)

// tcbCase is a platform, a module and a quoting enclave against two levels each:
// newest and oldest.
type tcbCase struct {
	name              string
	newest, oldest    tdx.Status // of the platform's levels
	module, oldModule tdx.Status
	qe                tdx.Status // of the level that the quoting enclave reaches
	oldSGX            bool       // the platform reaches only the oldest SGX part
	launch, now       [16]byte   // TEE_TCB_SVN and, in version 5, TEE_TCB_SVN_2
	want              tdx.Status
}

func (c tcbCase) scene(t *testing.T) *scene {
	s := newScene(t, 5, 3)
	s.quote.Body.TEETCBSVN, s.quote.Body.TEETCBSVN2 = c.launch, c.now
	if c.oldSGX {
		s.ext.ComponentSVNs, s.ext.PCESVN = oldestSGX, 5
	}
	s.collateral.TCBInfo["tcbLevels"] = []any{
		tdxtest.Level(newestSGX, 11, [16]byte{5, 0, 3}, c.newest),
		tdxtest.Level(oldestSGX, 5, [16]byte{3, 0, 2}, c.oldest),
	}
	s.collateral.TCBInfo["tdxModuleIdentities"] = []any{
		tdxtest.Module("TDX_01", tdxtest.ISVLevel(5, c.module), tdxtest.ISVLevel(2, c.oldModule)),
	}
	s.collateral.QEIdentity["tcbLevels"] = []any{tdxtest.ISVLevel(6, c.qe)}
	return s
}

func TestTCBStatusConvergesAsIntelHasIt(t *testing.T) {
	newSVN, oldSVN, zeroModule := [16]byte{5, 1, 3}, [16]byte{3, 1, 2}, [16]byte{5, 0, 3}
	up, out, rev := tdx.UpToDate, tdx.OutOfDate, tdx.Revoked
	cn, shn, both, outCN := tdx.ConfigurationNeeded, tdx.SWHardeningNeeded, tdx.ConfigurationAndSWHardeningNeeded, tdx.OutOfDateConfigurationNeeded
	for _, c := range []tcbCase{
		{"everything newest", up, out, up, out, up, false, newSVN, newSVN, up},
		{"a revoked oldest level doesn't matter to the newest", up, rev, up, out, up, false, newSVN, newSVN, up},
		{"revoked platform", rev, out, up, out, up, false, newSVN, newSVN, rev},
		{"revoked module", up, out, rev, out, up, false, newSVN, newSVN, rev},
		{"revoked quoting enclave", up, out, up, out, rev, false, newSVN, newSVN, rev},
		{"old platform, old launch", up, out, up, out, up, true, oldSVN, oldSVN, out},
		{"old platform, new launch", up, out, up, out, up, true, newSVN, newSVN, out},
		{"newest level is outdated", out, out, up, out, up, false, newSVN, newSVN, out},
		{"outdated quoting enclave", up, out, up, out, out, false, newSVN, newSVN, out},
		{"outdated quoting enclave, hardening needed", shn, out, up, out, out, false, newSVN, newSVN, out},
		{"outdated quoting enclave, configuration needed", cn, out, up, out, out, false, newSVN, newSVN, outCN},
		{"hardening needed", shn, out, up, out, up, false, newSVN, newSVN, shn},
		{"hardening needed on an old platform", up, shn, up, out, up, true, newSVN, newSVN, shn},
		{"configuration needed", cn, out, up, out, up, false, newSVN, newSVN, cn},
		{"configuration and hardening needed", both, out, up, out, up, false, newSVN, newSVN, both},
		{"outdated and configuration needed", up, outCN, up, out, up, true, newSVN, newSVN, outCN},
		{"module outdated, configuration needed", cn, out, out, out, up, false, newSVN, [16]byte{4, 1, 3}, outCN},
		{"launched before the update", up, out, out, out, up, false, oldSVN, newSVN, tdx.TDRelaunchAdvised},
		{"launched before the update, configuration of the launch level", up, outCN, out, out, up, false, oldSVN, newSVN, tdx.TDRelaunchAdvisedConfigurationNeeded},
		{"launched before the update, configuration of the newest level", cn, out, out, out, up, false, oldSVN, newSVN, tdx.TDRelaunchAdvisedConfigurationNeeded},
		{"launched before an update that is still too old", up, out, out, out, up, false, oldSVN, [16]byte{4, 1, 3}, out},
		{"launched before the update, quoting enclave outdated", up, out, out, out, out, false, oldSVN, newSVN, out},
		{"launched before the update, SGX part outdated", up, out, out, out, up, true, oldSVN, newSVN, out},
		{"launched before the update, SGX part revoked, as Intel has it", rev, out, out, out, up, false, oldSVN, newSVN, out},
		{"module of version 0 has no level of its own", up, out, rev, rev, up, false, zeroModule, zeroModule, up},
	} {
		t.Run(c.name, func(t *testing.T) {
			verdict := c.scene(t).run(t)
			if got := verdict.Claims["tcb_status"]; got != string(c.want) {
				t.Fatalf("status is %v, expected %s; %v", got, c.want, verdict.Err())
			}
			if verdict.Accepted != (c.want == up) {
				t.Errorf("accepted is %v under a policy that accepts UpToDate alone", verdict.Accepted)
			}
		})
	}
}

func TestStatusIsAcceptedOnlyWhenThePolicyNamesIt(t *testing.T) {
	svn := [16]byte{5, 1, 3}
	for _, status := range []tdx.Status{tdx.SWHardeningNeeded, tdx.ConfigurationNeeded, tdx.ConfigurationAndSWHardeningNeeded, tdx.OutOfDate, tdx.OutOfDateConfigurationNeeded} {
		t.Run(string(status), func(t *testing.T) {
			s := tcbCase{newest: status, oldest: tdx.OutOfDate, module: tdx.UpToDate, oldModule: tdx.OutOfDate, qe: tdx.UpToDate, launch: svn, now: svn}.scene(t)
			mustRefuse(t, s.run(t), "tcb_status")
			s.policy.AcceptedTCBStatuses = []tdx.Status{status}
			mustAccept(t, s.run(t))
		})
	}
}

func TestUnknownStatusIsRefused(t *testing.T) {
	svn := [16]byte{5, 1, 3}
	for name, set := range map[string]func(*tcbCase){
		"of the platform":        func(c *tcbCase) { c.newest = "Splendid" },
		"of the module":          func(c *tcbCase) { c.module = "Splendid" },
		"of the quoting enclave": func(c *tcbCase) { c.qe = "Splendid" },
	} {
		t.Run(name, func(t *testing.T) {
			c := tcbCase{newest: tdx.UpToDate, oldest: tdx.OutOfDate, module: tdx.UpToDate, oldModule: tdx.OutOfDate, qe: tdx.UpToDate, launch: svn, now: svn}
			set(&c)
			mustRefuse(t, c.scene(t).run(t), "tcb_status")
		})
	}
}

func TestModuleThatRunsNowMustBeKnownForARelaunch(t *testing.T) {
	c := tcbCase{newest: tdx.UpToDate, oldest: tdx.OutOfDate, module: tdx.OutOfDate, oldModule: tdx.OutOfDate, qe: tdx.UpToDate,
		launch: [16]byte{3, 1, 2}, now: [16]byte{5, 9, 3}}
	mustRefuse(t, c.scene(t).run(t), "tcb_status")
}

func TestAdvisoriesOfEveryPartAreClaimedOnce(t *testing.T) {
	s := newScene(t, 4, 2)
	s.quote.QEReport.ISVSVN, s.ext.PCESVN = 3, 10
	ids := s.run(t).Claims["advisory_ids"].([]string)
	if len(ids) != 1 || ids[0] != "INTEL-SA-00000" {
		t.Errorf("advisories are %v, expected the one of platform and quoting enclave once", ids)
	}
}
