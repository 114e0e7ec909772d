package release

import (
	"slices"
	"strings"
	"testing"
)

func TestValuesOfTheWrongKind(t *testing.T) {
	c0 := "containers[0]."
	checkRefusals(t, []refusal{
		{rule: "nothing where a word is needed", container: "user:", path: c0 + "user", line: 7, reason: "has no value"},
		{rule: "a list where a word is needed", container: "user: [a]", path: c0 + "user", line: 7, reason: "not a list"},
		{rule: "a mapping where a word is needed", container: "user: {a: b}", path: c0 + "user", line: 7, reason: "not a mapping"},
		{rule: "nothing where a boolean is needed", container: "read_only:", path: c0 + "read_only", line: 7, reason: "has no value"},
		{rule: "a word where a mapping is needed", container: "registry: a", path: c0 + "registry", line: 7, reason: "must be a mapping"},
		{rule: "nothing in an env list", container: "env: [null]", path: c0 + "env[0]", line: 7, reason: "has no value"},
		{rule: "a list of a command in a list", container: "command: [[a]]", path: c0 + "command[0]", line: 7, reason: "not a list"},
		{rule: "more than 256 entries", container: "command: [" + strings.Repeat("a,", 257) + "]", path: c0 + "command", line: 7, reason: "at most 256"},
		{rule: "a port of zero inside", container: "ports: [\"22:0\"]", path: c0 + "ports[0]", line: 7, reason: "between 1 and 65535"},
		{rule: "a port that is no number", container: "ports: [\"a:1\"]", path: c0 + "ports[0]", line: 7, reason: "between 1 and 65535"},
		{rule: "more than 64 tmpfs", container: "tmpfs: {" + manyTmpfs(65) + "}", path: c0 + "tmpfs", line: 7, reason: "at most 64"},
		{rule: "a list for tmpfs options", container: "tmpfs: {/a: [size=1m]}", path: c0 + `tmpfs["/a"]`, line: 7, reason: "not a list"},
		{rule: "an id of the oldest vintage with a slash", top: "models: [{id: a/b, mpk: " + hex64("2") + "-512}]", path: "models[0].id", line: 9, reason: "letters, digits"},
		{rule: "an origin on an address", shim: "origins: [\"https://10.0.0.1\"]", path: "shim.origins[0]", line: 9, reason: "address"},
		{rule: "networks as a word", top: "networks: web", path: "networks", line: 9, reason: "must be a mapping"},
		{rule: "volumes as a word", top: "volumes: v", path: "volumes", line: 9, reason: "must be a list"},
	})
}

func manyTmpfs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("/" + strings.Repeat("a", i+1) + ": , ")
	}
	return b.String()
}

func TestAnEmptyListOfContainersIsRefused(t *testing.T) {
	head := "cvm-version: 1\ncpus: 1\nmemory: 512\nshim: {upstream-port: 1}\n"
	for _, empty := range []string{"containers:", "containers: []"} {
		_, _, err := Parse("f", []byte(head+empty+"\n"))
		if err == nil || !strings.Contains(err.Error(), "at least one container") {
			t.Errorf("%s: got %v", empty, err)
		}
	}
}

func TestNothingAfterAListOrMappingIsEmpty(t *testing.T) {
	c, _ := mustParse(t, patched(t, "env:\nsecrets:\ntmpfs:\nnetworks: []\nhealthcheck: {test: [NONE]}", "paths:\norigins: []", "models:\nvolumes: []\nnetworks:\ncvm-network:"))
	k := c.Containers[0]
	if len(k.Env)+len(k.Secrets)+len(k.Tmpfs)+len(k.Networks)+len(c.Models)+len(c.Volumes)+len(c.Networks)+len(c.Shim.Paths) != 0 {
		t.Errorf("something came out of nothing: %+v", c)
	}
	if k.Healthcheck != nil {
		t.Errorf("test: [NONE] gives the health check %+v", k.Healthcheck)
	}
}

func TestWhatIsHeldButNotUsedIsWarnedAbout(t *testing.T) {
	_, warnings := mustParse(t, patched(t, "healthcheck: {test: [CMD, x]}", "authenticated: true\nauthenticated-endpoints: [/b]\npaths: [/a]",
		"gpus: 1\nvolumes: [{name: v}]\nnetworks: {n: }\ncvm-network: {inbound-ports: [22]}"))
	var got []string
	for _, w := range warnings {
		got = append(got, w.Path)
	}
	want := []string{"shim.authenticated-endpoints[0]", "gpus", "volumes[0]", "networks.n", "cvm-network.inbound-ports[0]"}
	if !slices.Equal(got, want) {
		t.Errorf("warnings at %v, want %v", got, want)
	}
}

func TestConfigNames(t *testing.T) {
	if want := []string{"casemate.yml", "tinfoil-config.yml"}; !slices.Equal(ConfigNames(), want) {
		t.Errorf("config names are %v, want %v", ConfigNames(), want)
	}
}
