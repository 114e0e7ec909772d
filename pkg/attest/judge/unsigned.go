package judge

import (
	"encoding/hex"

	"github.com/casemate-dev/casemate/pkg/attest/simulated"
)

// judgeUnsigned judges a report that nobody signed.
func (t *trial) judgeUnsigned() {
	var measurements []string
	for _, m := range t.expect.Measurements {
		measurements = append(measurements, hex.EncodeToString(m.Launch[:]))
	}
	e := t.expect
	t.verdict.Merge("", simulated.Verify(t.doc, simulated.Expect{
		Nonce: e.Nonce, TLSKeyDigest: e.TLSKeyDigest, ConfigDigest: e.ConfigDigest,
		PlatformDigest: e.PlatformDigest, AnyPlatform: e.AnyPlatform, Measurements: measurements,
		AllowSimulated: t.policy.Simulated != nil && t.policy.Simulated.Unsigned,
		AllowDebug:     e.AllowDebug,
	}, t.at))
}
