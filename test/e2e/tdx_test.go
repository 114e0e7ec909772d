package e2e

import (
	"testing"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// TestAFleetThatShowsTDX goes the main way with TDX quotes and a GPU: agent,
// coordinator and a client outside judge them by the TCB info, the revocation lists
// and the RIMs that the simulated vendors publish.
func TestAFleetThatShowsTDX(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"8xH200"}, TEE: dev.TDX})
	a := app{gpus: 1}
	f.running(t, "quoted", a, app{gpus: 1, image: 1})
	l := f.load(t, "quoted")
	judged := []string{"tdx evidence is accepted", "✓ revocation", "✓ tcb_status", "UpToDate",
		"✓ gpu0_device_ocsp_good", "✓ gpu0_driver_rim_signature", "✓ gpu0_measurements"}
	url, pins := "https://"+domain("quoted"), f.pins(t, a)
	says(t, f.ok(t, "attest", "container", "quoted"), append(judged, "release_manifest")...)
	says(t, f.ok(t, append([]string{"attest", "verify", url}, pins...)...), append(judged, "✓ domain_binding")...)

	u := f.updated(t, "quoted", "v2", nil, succeeded)
	if u.GetStrategy() != cv1.Strategy_STRATEGY_BLUE_GREEN {
		t.Errorf("the update was %s", u.GetStrategy())
	}
	unharmed(t, l)
	says(t, f.ok(t, "attest", "container", "quoted"), judged...)
	says(t, f.fails(t, 1, "", append([]string{"attest", "verify", url}, pins...)...).out, "is refused", "✗ measurement")
	says(t, f.ok(t, append([]string{"attest", "verify", url}, f.pins(t, app{gpus: 1, image: 1})...)...), judged...)
}

func TestAFleetWhoseEvidenceNobodySigns(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"none"}, TEE: dev.NoTEE})
	f.running(t, "marked", app{})
	says(t, f.ok(t, "attest", "container", "marked"), "simulated evidence is accepted", "✓ insecure_mode", "insecure: simulated")
	f.fails(t, 2, "--tee is sev-snp, tdx or none", "dev", "up", "--tee", "sgx")
}
