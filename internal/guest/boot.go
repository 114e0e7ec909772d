package guest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/release"
)

// stageDeadline bounds the stages that ask hardware; the others last as long as
// the config's images and models need, and whoever watches has a deadline.
const stageDeadline = 2 * time.Minute

// errSkipped ends a stage that this config does not need.
type errSkipped struct{ why string }

func (e errSkipped) Error() string { return e.why }

// bootState is what one stage leaves to those after it. The boot owns it.
type bootState struct {
	config  *release.Config
	secrets map[string][]byte
	started []started
}

// started is a container and what runs of it.
type started struct {
	container release.Container
	workload  Workload
}

// boot goes through the stages in order and ends at the first that fails. It
// returns the containers that were started, in order, also when it fails.
func (g *Guest) boot(ctx context.Context) []started {
	state := &bootState{}
	for _, stage := range []struct {
		name string
		run  func(context.Context, *bootState) error
	}{
		{guestapi.StageConfig, g.checkConfig},
		{guestapi.StageNetwork, g.checkNetwork},
		{guestapi.StageIdentity, g.checkIdentity},
		{guestapi.StageEvidence, g.checkEvidence},
		{guestapi.StageGPU, g.checkGPUs},
		{guestapi.StageSecrets, g.awaitSecrets},
		{guestapi.StageImages, g.pullImages},
		{guestapi.StageContainers, g.startContainers},
	} {
		if !g.runStage(ctx, stage.name, func(ctx context.Context) error { return stage.run(ctx, state) }) {
			return state.started
		}
	}
	g.superviseHealth(ctx, state)
	return state.started
}

func (g *Guest) runStage(ctx context.Context, name string, run func(context.Context) error) bool {
	g.board.set(name, guestapi.StatusRunning, "")
	err := run(ctx)
	skipped, isSkip := errors.AsType[errSkipped](err)
	switch {
	case err == nil:
		g.board.set(name, guestapi.StatusOK, "")
		g.cfg.Log.Info("boot stage done", "stage", name)
	case isSkip:
		g.board.set(name, guestapi.StatusSkipped, skipped.why)
	default:
		g.board.set(name, guestapi.StatusFailed, err.Error())
		g.cfg.Log.Error("boot stage failed", "stage", name, "error", err)
		return false
	}
	return true
}

func (g *Guest) checkConfig(_ context.Context, state *bootState) error {
	cfg, err := readConfig(g.cfg.ConfigName, g.cfg.ConfigFile, g.cfg.ConfigDigest)
	if err != nil {
		return err
	}
	if err := checkPlatform(cfg, g.cfg.Platform); err != nil {
		return err
	}
	state.config = cfg
	g.vault.open(declaredSecrets(cfg))
	return nil
}

func (g *Guest) checkNetwork(context.Context, *bootState) error {
	if g.cfg.Listener.Addr() == nil {
		return errors.New("the listener has no address")
	}
	return nil
}

func (g *Guest) checkIdentity(context.Context, *bootState) error {
	g.cfg.Log.Info("tls key made", "spki_sha256", fmt.Sprintf("%x", g.identity.digest))
	return nil
}

// checkEvidence compares the platform part with the digest that the hardware
// was given at launch, and has one report made, so that an enclave that can't
// prove itself stops here and not at its first verifier.
func (g *Guest) checkEvidence(ctx context.Context, _ *bootState) error {
	ctx, cancel := context.WithTimeout(ctx, stageDeadline)
	defer cancel()
	launched, err := g.cfg.Evidence.HostData(ctx)
	if err != nil {
		return fmt.Errorf("read the platform digest of the launch: %w", err)
	}
	if want := evidence.PlatformDigest(g.cfg.Platform); launched != want {
		return fmt.Errorf("the platform part has digest %x, the launch was given %x: the host changed it", want, launched)
	}
	if _, err := g.document(ctx, [32]byte{}); err != nil {
		return err
	}
	return nil
}

func (g *Guest) checkGPUs(ctx context.Context, state *bootState) error {
	if g.cfg.GPUs == 0 && state.config.GPUs == 0 {
		return errSkipped{"the config asks for no GPU"}
	}
	ctx, cancel := context.WithTimeout(ctx, stageDeadline)
	defer cancel()
	n, err := g.cfg.GPUCount(ctx)
	if err != nil {
		return fmt.Errorf("count the GPUs: %w", err)
	}
	if n != g.cfg.GPUs {
		return fmt.Errorf("%d GPUs are here, the enclave was launched for %d", n, g.cfg.GPUs)
	}
	return nil
}

func (g *Guest) awaitSecrets(ctx context.Context, state *bootState) error {
	names := declaredSecrets(state.config)
	if len(names) == 0 {
		return errSkipped{"the config declares no secrets"}
	}
	g.board.set(guestapi.StageSecrets, guestapi.StatusRunning, "waits for "+list(names))
	secrets, err := g.vault.wait(ctx)
	if err != nil {
		return fmt.Errorf("wait for secrets: %w", err)
	}
	state.secrets = secrets
	return nil
}

func (g *Guest) pullImages(ctx context.Context, state *bootState) error {
	err := g.cfg.Runtime.Pull(ctx, state.config.Containers, registrySecrets(state.config, state.secrets))
	if err != nil {
		return fmt.Errorf("pull images: %w", err)
	}
	return nil
}

func (g *Guest) startContainers(ctx context.Context, state *bootState) error {
	for _, c := range state.config.Containers {
		g.board.set(guestapi.StageContainers, guestapi.StatusRunning, "starts "+c.Name)
		w, err := g.cfg.Runtime.Start(ctx, c, inputOf(c, g.cfg.Platform, state.secrets))
		if err != nil {
			return fmt.Errorf("start container %s: %w", c.Name, err)
		}
		state.started = append(state.started, started{c, w})
	}
	return nil
}
