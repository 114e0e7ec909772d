package dev

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/release"
	releasegit "github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// configName is the config file of the sample releases.
const configName = "casemate.yml"

// Release is one tag of a sample repository.
type Release struct {
	Tag string
	// Config is the content of casemate.yml.
	Config string
	// Unsigned publishes no manifest with it.
	Unsigned bool
}

// WriteRepository makes a Git repository with a commit and a tag per release, and
// beside each tag its manifest, signed with key: release n has the number n.
func WriteRepository(dir string, releases []Release, key crypto.Signer) error {
	repo, err := git.PlainInit(dir, false)
	if err != nil {
		return fmt.Errorf("make repository %s: %w", dir, err)
	}
	for i, r := range releases {
		at := time.Unix(1_790_000_000+int64(i)*3600, 0)
		hash, err := commit(repo, dir, r, at)
		if err != nil {
			return fmt.Errorf("release %s of %s: %w", r.Tag, dir, err)
		}
		if r.Unsigned {
			continue
		}
		if err := publish(dir, hash, r, uint64(i+1), at, key); err != nil {
			return fmt.Errorf("manifest of %s of %s: %w", r.Tag, dir, err)
		}
	}
	return nil
}

// publish measures a release for simulated enclaves, debug ones too, and signs it.
// A config that is refused has no measurement.
func publish(dir, commit string, r Release, number uint64, at time.Time, key crypto.Signer) error {
	config, _, err := release.Parse(configName, []byte(r.Config))
	var refused *release.ParseError
	if errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := manifest.Build(release.Release{Repository: dir, Tag: r.Tag, Commit: commit, ConfigName: configName, Config: config}, number, at, []manifest.Machine{
		{Platform: attest.FormatSimulated, Shape: "dev"},
		{Platform: attest.FormatSimulated, Shape: "dev", Debug: true},
	})
	if err != nil {
		return err
	}
	signed, err := manifest.Sign(rand.Reader, m, key)
	if err != nil {
		return err
	}
	_, err = releasegit.Attach(dir, r.Tag, commit, releasegit.Published{Envelope: signed}, at)
	return err
}

func commit(repo *git.Repository, dir string, r Release, at time.Time) (string, error) {
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(r.Config), 0o600); err != nil {
		return "", err
	}
	tree, err := repo.Worktree()
	if err != nil {
		return "", err
	}
	if _, err := tree.Add(configName); err != nil {
		return "", err
	}
	who := &object.Signature{Name: "Casemate", Email: "samples@casemate.test", When: at}
	hash, err := tree.Commit("Release "+r.Tag, &git.CommitOptions{Author: who, AllowEmptyCommits: true})
	if err != nil {
		return "", err
	}
	_, err = repo.CreateTag(r.Tag, hash, &git.CreateTagOptions{Tagger: who, Message: r.Tag})
	return hash.String(), err
}

// Sample describes a sample container.
type Sample struct {
	GPUs, CPUs, MemoryMiB int
	// Boot and Load are how long its enclave takes to boot and to be healthy.
	Boot, Load time.Duration
	// Fault is what is wrong with it, in the words of the fake backend; empty for
	// nothing.
	Fault string
	// Version is told by the workload.
	Version string
	// Secret is the name of a secret it declares; empty for none.
	Secret string
}

// Config returns the sample's casemate.yml. The images are never pulled: fake
// enclaves answer in their place.
func (s Sample) Config() string {
	runtime := ""
	if s.GPUs > 0 {
		runtime = "    runtime: nvidia\n    gpus: all\n"
	}
	fault := ""
	if s.Fault != "" {
		fault = fmt.Sprintf("      - CASEMATE_SIM_FAULT: %q\n", s.Fault)
	}
	secrets := ""
	if s.Secret != "" {
		secrets = "    secrets:\n      - " + s.Secret + "\n"
	}
	return fmt.Sprintf(`cvm-version: 1.0.0
cpus: %d
memory: %d
gpus: %d

containers:
  - name: app
    image: registry.casemate.test/sample/app@sha256:%064x
%s    env:
      - VERSION: %q
      - LOG_LEVEL
      - CASEMATE_SIM_BOOT_TIME: %s
      - CASEMATE_SIM_LOAD_TIME: %s
%s%s    healthcheck:
      test: ["CMD", "curl", "-sf", "http://localhost:8080/health"]
      interval: 500ms
      timeout: 1s
      retries: 3
      start_period: 2s
  - name: sidecar
    image: registry.casemate.test/sample/sidecar@sha256:%064x

shim:
  upstream-port: 8080
  upstream-container: app
`, s.CPUs, s.MemoryMiB, s.GPUs, 0xa99+len(s.Version), runtime, s.Version, s.Boot, s.Load, fault, secrets, 0x51de)
}
