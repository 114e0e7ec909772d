package release

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustParse(t testing.TB, data []byte) (*Config, []Warning) {
	t.Helper()
	c, warnings, err := Parse("casemate.yml", data)
	if err != nil {
		t.Fatalf("a valid file was refused:\n%v", err)
	}
	return c, warnings
}

func hex64(digit string) string { return strings.Repeat(digit, 64) }

func TestEveryKeyReachesTheSpec(t *testing.T) {
	data := fixture(t, "full.yml")
	got, warnings := mustParse(t, data)
	want := &Config{
		Name: "casemate.yml", Raw: data,
		CVMVersion: "0.14.12", CVMDigest: "sha256:" + hex64("1"),
		CPUs: 16, MemoryMiB: 65536, GPUs: 2,
		Models: []Model{{
			Name: "tiny", Repo: "acme/tiny-model@0123456789abcdef",
			RootHash: hex64("2"), HashOffset: 1 << 20, UUID: "6a767ed1-252b-50a1-8a12-ecad0426081e",
		}},
		Volumes: []Volume{{Name: "state", Exec: true, Owner: 10001, KeySecret: "STATE_KEY"}},
		Networks: []Network{
			{Name: "inner", Egress: EgressClosed},
			{Name: "web", Egress: EgressAllowlist, Allow: []string{"api.example.com", "files.example.org"}},
			{Name: "wide", Egress: EgressOpen},
		},
		InboundPorts: []uint16{22},
		Containers:   []Container{fullContainer(), sidecarContainer()},
		Shim: Shim{
			UpstreamPort: 8000, UpstreamContainer: "app",
			Paths: []string{"/health", "/v1/*"}, Origins: []string{"https://app.example.com"},
			TLSMode: TLSSelfSigned, Authenticated: true, AuthenticatedEndpoints: []string{"/v1/chat"},
			RateLimit: 2.5, RateBurst: 10,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the spec differs from the file (-want +got):\n%s", diff)
	}
	if len(warnings) != 0 {
		t.Errorf("a file of today has warnings: %v", warnings)
	}
}

func fullContainer() Container {
	return Container{
		Name: "app", Image: "ghcr.io/acme/app:v1@sha256:" + hex64("3"), ImageDigest: "sha256:" + hex64("3"),
		Registry:   &Registry{Username: "acme-bot", PasswordSecret: "PULL_TOKEN"},
		Entrypoint: []string{"/bin/sh", "-c"}, Command: []string{"exec serve --port=8000"},
		WorkingDir: "/srv", User: "10001:10001",
		Env: []EnvVar{
			{Name: "LOG_LEVEL", Value: "info"}, {Name: "WORKERS", Value: "4"},
			{Name: "EMPTY"}, {Name: "DOMAIN", Open: true},
		},
		Secrets: []string{"API_KEY", "PULL_TOKEN"}, Models: []string{"tiny"},
		Volumes: []Mount{{Volume: "state", Target: "/state"}, {Volume: "state", Target: "/again", ReadOnly: true}},
		Tmpfs: []Tmpfs{
			{Target: "/tmp", SizeBytes: 128 << 20, Mode: 0o1777, Exec: true},
			{Target: "/run", SizeBytes: 1 << 20, Mode: 0o700, UID: 10001, GID: 10002},
			{Target: "/scratch"},
		},
		CapAdd: []string{"IPC_LOCK"}, GPUs: &GPUSelection{All: true},
		Networks: []string{"inner", "web"}, Ports: []Port{{Host: 22, Container: 2022}},
		IPC: "private", ShmBytes: 8 << 30, MemoryBytes: 512 << 20, MilliCPUs: 1500, PidsLimit: 128,
		Restart: Restart{RestartOnFailure, 5}, StopSignal: "SIGRTMIN+3", StopTimeout: 2 * time.Minute,
		Healthcheck: &Healthcheck{
			Test:     []string{"CMD", "curl", "-sf", "http://localhost:8000/health"},
			Interval: 15 * time.Second, Timeout: 5 * time.Second, Retries: 10, StartPeriod: 30 * time.Minute,
		},
	}
}

func sidecarContainer() Container {
	return Container{
		Name: "sidecar", Image: "docker.io/acme/sidecar@sha256:" + hex64("4"), ImageDigest: "sha256:" + hex64("4"),
		GPUs: &GPUSelection{Indices: []int{0, 1}}, Networks: []string{"wide"},
		IPC: "private", PidsLimit: DefaultPidsLimit, ReadOnly: true,
		Restart: Restart{Policy: RestartNo}, StopSignal: "SIGTERM", StopTimeout: 10 * time.Second,
	}
}

func TestDefaultsAreTheClosedOnes(t *testing.T) {
	c, warnings := mustParse(t, fixture(t, "minimal.yml"))
	k := c.Containers[0]
	if !k.ReadOnly || k.PidsLimit != DefaultPidsLimit || len(k.Networks) != 0 || len(k.CapAdd) != 0 || k.IPC != "private" {
		t.Errorf("a container without keys is not confined: %+v", k)
	}
	if c.Shim.UpstreamContainer != "app" {
		t.Errorf("the upstream container is %q, want the first one", c.Shim.UpstreamContainer)
	}
	if c.Shim.TLSMode != TLSCertProxy {
		t.Errorf("tls-mode is %q, want %q", c.Shim.TLSMode, TLSCertProxy)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, "no healthcheck") {
		t.Errorf("want one warning about the missing health check, got %v", warnings)
	}
}

func TestDigestIsOfTheRawBytes(t *testing.T) {
	data := fixture(t, "minimal.yml")
	c, _ := mustParse(t, data)
	want := sha256.Sum256(data)
	data[0] = 'X' // the config keeps its own copy
	if c.Digest() != want {
		t.Error("the digest is not the SHA-256 of the file")
	}
}

func TestVintagesAreTakenOrNamed(t *testing.T) {
	c, warnings := mustParse(t, fixture(t, "vintage.yml"))
	var got []string
	for _, w := range warnings {
		got = append(got, w.Path)
	}
	want := []string{
		"shim-version", "ovmf-version", "vllm-args", "keyserver-url", "attested-keys", "models[0].id", "models[0].mpk",
		"containers[0]", "containers[0].env[0]", "containers[0].args", "containers[0].cvm_admin", "containers[0].keys",
		"shim.listen-port", "shim.domain", "shim.tls-wildcard", "shim.tls-own-san-domain", "shim.tls-challenge",
		"shim.control-plane", "shim.atc", "shim.publish-attestation", "shim.dummy-attestation", "network.whitelist",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if c.Models[0].Name != "tiny-1b" || c.Models[0].HashOffset != 1<<20 || c.Models[0].UUID != "" {
		t.Errorf("the oldest form of a model was read as %+v", c.Models[0])
	}
	if diff := cmp.Diff([]EnvVar{{Name: "REGION", Value: "eu=west"}}, c.Containers[0].Env); diff != "" {
		t.Errorf("NAME=value must be a measured variable (-want +got):\n%s", diff)
	}
	network := []Network{{Name: "whitelist", Egress: EgressAllowlist, Allow: []string{"api.example.com", "files.example.org"}}}
	if diff := cmp.Diff(network, c.Networks); diff != "" {
		t.Errorf("network.whitelist (-want +got):\n%s", diff)
	}
	if !slices.Equal(c.Containers[0].Networks, []string{"whitelist"}) {
		t.Errorf("the container's networks are %v, want whitelist", c.Containers[0].Networks)
	}
}

func TestShimServesAndAsks(t *testing.T) {
	s := Shim{Paths: []string{"/health", "/v1/*"}, Authenticated: true, AuthenticatedEndpoints: []string{"/v1/*"}}
	for _, tc := range []struct {
		path           string
		serves, needed bool
	}{
		{"/health", true, false}, {"/v1/chat", true, true}, {"/v1/", true, true},
		{"/v1", false, false}, {"/healthz", false, false}, {"/", false, false},
	} {
		if s.Serves(tc.path) != tc.serves || s.NeedsKey(tc.path) != tc.needed {
			t.Errorf("%s: served %t, key %t; want %t, %t", tc.path, s.Serves(tc.path), s.NeedsKey(tc.path), tc.serves, tc.needed)
		}
	}
	if all := (Shim{}); !all.Serves("/any") || all.NeedsKey("/any") {
		t.Error("a shim without paths serves all of them, without a key")
	}
	if !(Shim{Authenticated: true}).NeedsKey("/any") {
		t.Error("authenticated without endpoints asks on every path")
	}
}
