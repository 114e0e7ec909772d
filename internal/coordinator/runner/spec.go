package runner

import (
	"context"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
)

// spec builds what an enclave runs from records that don't change, so that it is
// the same however often it is built.
func (r *Runner) spec(ctx context.Context, k model.ContainerKey, s engine.State, ref model.EnclaveRef) (*agentv1.EnclaveSpec, model.Revision, error) {
	rev, err := r.cfg.Records.Revision(ctx, k, ref.Revision)
	if err != nil {
		return nil, rev, err
	}
	profile, err := r.cfg.Agents.Profile(ref.Host)
	if err != nil {
		return nil, rev, err
	}
	spec := &agentv1.EnclaveSpec{
		Org: k.Org, Container: k.Name, ContainerUid: s.Container.UID,
		Revision: rev.Number, Profile: profile, CvmVersion: rev.CVMVersion,
		Cpus: uint32(rev.Room.CPUs), MemoryMib: uint64(rev.Room.MemoryMiB), Gpus: uint32(rev.Room.GPUs),
		Config: rev.Config, ConfigName: rev.ConfigName,
		ExpectedMeasurements: measurements(rev, profile),
		Tag:                  rev.Tag, Commit: rev.Commit,
		Platform: rev.PlatformPart(r.cfg.Records.ClusterID, s.Route.Domain, r.cfg.SecretsKey),
	}
	if profile == agentv1.CvmProfile_CVM_PROFILE_NONE && rev.Manifest == nil {
		// Nobody has signed what it should measure. What a simulated launch states can
		// be told beforehand.
		spec.ExpectedMeasurements = []string{simulated.MeasurementHex(spec)}
	}
	return spec, rev, nil
}

// measurements are those that the release's manifest expects of a profile.
func measurements(rev model.Revision, profile agentv1.CvmProfile) []string {
	var out []string
	for _, e := range rev.Expected {
		switch {
		case e.Platform != model.Platform(profile):
		case e.Platform == attest.FormatTDX:
			out = append(out, judge.Measurement{
				Launch: judge.Digest(*e.MRTD),
				RTMR:   [3]*judge.Digest{(*judge.Digest)(e.RTMR0), (*judge.Digest)(e.RTMR1), (*judge.Digest)(e.RTMR2)},
			}.String())
		default:
			out = append(out, judge.Measurement{Launch: judge.Digest(*e.Measurement)}.String())
		}
	}
	return out
}
