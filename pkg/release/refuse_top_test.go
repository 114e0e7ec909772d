package release

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestShimRefusals(t *testing.T) {
	checkRefusals(t, []refusal{
		{rule: "an upstream container that is not there", shim: "upstream-container: other", path: "shim.upstream-container", line: 9, reason: "no container named"},
		{rule: "a relative path", shim: "paths: [health]", path: "shim.paths[0]", line: 9, reason: "begin with a slash"},
		{rule: "a star in the middle", shim: "paths: [/v1/*/chat]", path: "shim.paths[0]", line: 9, reason: "at the end only"},
		{rule: "two stars", shim: "paths: [/v1/**]", path: "shim.paths[0]", line: 9, reason: "at the end only"},
		{rule: "a query", shim: "paths: [\"/a?b\"]", path: "shim.paths[0]", line: 9, reason: "plain path"},
		{rule: "dot segments", shim: "paths: [/a/../b]", path: "shim.paths[0]", line: 9, reason: "clean path"},
		{rule: "a double slash", shim: "paths: [//]", path: "shim.paths[0]", line: 9, reason: "clean path"},
		{rule: "a path twice", shim: "paths: [/a, /a]", path: "shim.paths[1]", line: 9, reason: "twice"},
		{rule: "every origin by a star", shim: "origins: [\"*\"]", path: "shim.origins[0]", line: 9, reason: "leave origins out"},
		{rule: "an origin with a path", shim: "origins: [\"https://a.example/\"]", path: "shim.origins[0]", line: 9, reason: "without a path"},
		{rule: "an origin with an account", shim: "origins: [\"https://u@a.example\"]", path: "shim.origins[0]", line: 9, reason: "without a path"},
		{rule: "an unknown tls-mode", shim: "tls-mode: none", path: "shim.tls-mode", line: 9, reason: "cert-proxy, acme or self-signed"},
		{rule: "endpoints that nobody asks for", shim: "authenticated-endpoints: [/a]", path: "shim.authenticated-endpoints", line: 9, reason: "without authenticated: true"},
		{rule: "an empty list of endpoints", shim: "authenticated: true\nauthenticated-endpoints: []", path: "shim.authenticated-endpoints", line: 10, reason: "is empty"},
		{rule: "a rate of nothing", shim: "rate-limit: 0", path: "shim.rate-limit", line: 9, reason: "above 0"},
		{rule: "a burst without a rate", shim: "rate-burst: 5", path: "shim.rate-burst", line: 9, reason: "needs rate-limit"},
		{rule: "a misspelt key", shim: "upstream_container: app", path: "shim.upstream_container", line: 9, reason: "did you mean upstream-container?"},
	})
}

func TestNetworkRefusals(t *testing.T) {
	allow := func(host string) string { return "networks: {a: {egress: allowlist, allow: [\"" + host + "\"]}}" }
	checkRefusals(t, []refusal{
		{rule: "a name of 16 characters", top: "networks: {abcdefghijklmnop: }", path: "networks.abcdefghijklmnop", line: 9, reason: "at most 15"},
		{rule: "a name in capitals", top: "networks: {Web: }", path: "networks.Web", line: 9, reason: "lower-case"},
		{rule: "a reserved name", top: "networks: {default: }", path: "networks.default", line: 9, reason: "reserved"},
		{rule: "a list of networks", top: "networks: [web]", path: "networks", line: 9, reason: "mapping of names"},
		{rule: "an unknown egress", top: "networks: {a: {egress: some}}", path: "networks.a.egress", line: 9, reason: "closed, allowlist or open"},
		{rule: "allow of a closed network", top: "networks: {a: {allow: [b.example]}}", path: "networks.a.allow", line: 9, reason: "needs egress: allowlist"},
		{rule: "an allowlist of nothing", top: "networks: {a: {egress: allowlist}}", path: "networks.a", line: 9, reason: "at least one host"},
		{rule: "a wildcard host", top: allow("*.example.com"), path: "networks.a.allow[0]", line: 9, reason: "wildcards"},
		{rule: "a URL for a host", top: allow("https://a.example"), path: "networks.a.allow[0]", line: 9, reason: "is a URL"},
		{rule: "an IPv4 address", top: allow("10.0.0.1"), path: "networks.a.allow[0]", line: 9, reason: "is an address"},
		{rule: "an IPv6 address", top: allow("fd00::1"), path: "networks.a.allow[0]", line: 9, reason: "is an address"},
		{rule: "a host with a port", top: allow("a.example:443"), path: "networks.a.allow[0]", line: 9, reason: "has a port"},
		{rule: "a container in an unknown network", container: "networks: [web]", path: "containers[0].networks", line: 7, reason: "not declared"},
		{rule: "ports without a network", container: "ports: [\"22:22\"]", path: "containers[0].ports", line: 7, reason: "attach it"},
		{rule: "the shim's port", container: "ports: [\"443:8443\"]", path: "containers[0].ports[0]", line: 7, reason: "reserved for the shim"},
		{rule: "port 80", container: "ports: [\"80:80\"]", path: "containers[0].ports[0]", line: 7, reason: "certificate"},
		{rule: "the debug port", container: "ports: [\"2222:22\"]", path: "containers[0].ports[0]", line: 7, reason: "debug"},
		{rule: "a port without its host side", container: "ports: [8080]", path: "containers[0].ports[0]", line: 7, reason: "HOST:CONTAINER"},
		{rule: "UDP", container: "ports: [\"53:53/udp\"]", path: "containers[0].ports[0]", line: 7, reason: "only TCP"},
		{rule: "an address", container: "ports: [\"127.0.0.1:53:53\"]", path: "containers[0].ports[0]", line: 7, reason: "HOST:CONTAINER"},
		{rule: "a port twice", container: "networks: [a]\nports: [\"22:22\", \"22:23\"]", top: "networks: {a: }", path: "containers[0].ports", line: 8, reason: "already"},
		{rule: "an inbound debug port", top: "cvm-network: {inbound-ports: [2222]}", path: "cvm-network.inbound-ports[0]", line: 9, reason: "reserved"},
		{rule: "an inbound port twice", top: "cvm-network: {inbound-ports: [22, 22]}", path: "cvm-network.inbound-ports[1]", line: 9, reason: "twice"},
		{rule: "a port too high", top: "cvm-network: {inbound-ports: [65536]}", path: "cvm-network.inbound-ports[0]", line: 9, reason: "65535"},
		{rule: "both forms of networks", top: "networks: {}\nnetwork: {whitelist: [a.example]}", path: "network", line: 10, reason: "keep only one"},
	})
}

func TestHealthcheckRefusals(t *testing.T) {
	h := "containers[0].healthcheck."
	check := func(rest string) string { return "healthcheck: {test: [CMD, x]" + rest + "}" }
	checkRefusals(t, []refusal{
		{rule: "no test", container: "healthcheck: {interval: 5s}", path: h + "test", line: 7, reason: "required"},
		{rule: "an empty test", container: "healthcheck: {test: []}", path: h + "test", line: 7, reason: "is empty"},
		{rule: "a test in one line", container: "healthcheck: {test: curl x}", path: h + "test", line: 7, reason: "must be a list"},
		{rule: "a test without its kind", container: "healthcheck: {test: [curl]}", path: h + "test", line: 7, reason: "CMD-SHELL"},
		{rule: "CMD alone", container: "healthcheck: {test: [CMD]}", path: h + "test", line: 7, reason: "no meaning"},
		{rule: "CMD-SHELL with two lines", container: "healthcheck: {test: [CMD-SHELL, a, b]}", path: h + "test", line: 7, reason: "one line"},
		{rule: "a time without a unit", container: check(", interval: 30"), path: h + "interval", line: 7, reason: "write 30s"},
		{rule: "a time in words", container: check(", timeout: soon"), path: h + "timeout", line: 7, reason: "1h30m"},
		{rule: "no interval", container: check(", interval: 0s"), path: h + "interval", line: 7, reason: "between"},
		{rule: "a negative time", container: check(", start_period: -1s"), path: h + "start_period", line: 7, reason: "between"},
		{rule: "two days of starting", container: check(", start_period: 48h"), path: h + "start_period", line: 7, reason: "24h"},
		{rule: "no retries", container: check(", retries: 0"), path: h + "retries", line: 7, reason: "between 1"},
	})
}

func TestTopLevelRefusals(t *testing.T) {
	checkRefusals(t, []refusal{
		{rule: "nine gpus", top: "gpus: 9", path: "gpus", line: 9, reason: "between 0 and 8"},
		{rule: "gpus in words", top: "gpus: all", path: "gpus", line: 9, reason: "whole number"},
		{rule: "an underscore in a number", top: "gpus: 1_0", path: "gpus", line: 9, reason: "whole number"},
		{rule: "a misspelt key", top: "contaners: []", path: "contaners", line: 9, reason: "did you mean containers?"},
	})
	for _, tc := range []struct{ rule, old, new, path, reason string }{
		{"no vCPUs", "cpus: 2", "cpus: 0", "cpus", "between 1"},
		{"memory with a unit", "memory: 8192", "memory: 8g", "memory", "whole number"},
		{"memory that holds no kernel", "memory: 8192", "memory: 8", "memory", "between 512"},
		{"a version with spaces", "cvm-version: 0.14.12", "cvm-version: latest one", "cvm-version", "such as 0.14.12"},
		{"a version with a placeholder", "cvm-version: 0.14.12", "cvm-version: 0.14.12@sha256:...", "cvm-version", "placeholder"},
		{"no version", "cvm-version: 0.14.12\n", "", "cvm-version", "required"},
		{"no memory", "memory: 8192\n", "", "memory", "required"},
		{"a shim of nothing", "shim:\n  upstream-port: 8000\n", "shim:\n", "shim.upstream-port", "required"},
		{"no shim", "shim:\n  upstream-port: 8000\n", "", "shim", "required"},
		{"no name", "name: app\n    image", "image", "containers[0].name", "required"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			text := string(fixture(t, "minimal.yml"))
			_, _, err := Parse("casemate.yml", []byte(strings.Replace(text, tc.old, tc.new, 1)))
			var refused *ParseError
			if !errors.As(err, &refused) || len(refused.Faults) != 1 {
				t.Fatalf("want one fault, got %v", err)
			}
			if f := refused.Faults[0]; f.Path != tc.path || !strings.Contains(f.Reason, tc.reason) {
				t.Errorf("got %v, want %s with %q", f, tc.path, tc.reason)
			}
		})
	}
}

func TestLimitsOnEntries(t *testing.T) {
	containers := func(n int) string {
		var b strings.Builder
		b.WriteString("cvm-version: 1\ncpus: 1\nmemory: 512\nshim: {upstream-port: 1}\ncontainers:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: c%d, image: a@sha256:%s}\n", i, hex64("1"))
		}
		return b.String()
	}
	networks := func(n int) string {
		var b strings.Builder
		b.WriteString(containers(1) + "networks:\n")
		for i := range n {
			fmt.Fprintf(&b, "  n%d:\n", i)
		}
		return b.String()
	}
	ports := func(n int) string {
		var b strings.Builder
		b.WriteString(containers(1) + "cvm-network:\n  inbound-ports:\n")
		for i := range n {
			fmt.Fprintf(&b, "    - %d\n", 10000+i)
		}
		return b.String()
	}
	disks := func(n int) string {
		var b strings.Builder
		b.WriteString(containers(1) + "models: [{name: m, mpk: " + hex64("2") + "_512}]\nvolumes:\n")
		for i := range n - 1 {
			fmt.Fprintf(&b, "  - name: v%d\n", i)
		}
		return b.String()
	}
	for _, tc := range []struct {
		rule  string
		file  func(int) string
		limit int
	}{
		{"containers", containers, MaxContainers}, {"networks", networks, MaxNetworks},
		{"inbound ports", ports, MaxInboundPorts}, {"models and volumes together", disks, MaxDisks},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if _, _, err := Parse("f", []byte(tc.file(tc.limit))); err != nil {
				t.Errorf("%d were refused: %v", tc.limit, err)
			}
			if _, _, err := Parse("f", []byte(tc.file(tc.limit+1))); err == nil {
				t.Errorf("%d were taken", tc.limit+1)
			}
		})
	}
}
