package agentd_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/agent/agentd"
	"github.com/casemate-dev/casemate/internal/yamlconfig"
)

// good is a configuration that works.
func good() string {
	return "name: h1\nstate_dir: /var/lib/x\nlisten: {local: \"unix:///run/x.sock\", tcp: \"127.0.0.1:1\"}\n" +
		"profile: none\nbackend:\n  kind: fake\n  fake:\n    guest: " + guestPath + "\n"
}

func parse(text string, environ ...string) (agentd.Config, error) {
	return yamlconfig.Parse[agentd.Config](yamlconfig.Source{
		Name: "agent.yaml", Text: []byte(text), Prefix: agentd.EnvPrefix, Environ: environ})
}

func TestConfigsAreRefusedWithTheLine(t *testing.T) {
	if _, err := parse(good()); err != nil {
		t.Fatalf("a good one is refused: %v", err)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"containerd is not built in":         {"kind: fake", "kind: containerd", "agent.yaml:6: backend.kind: containerd is not built into this version"},
		"an unknown backend":                 {"kind: fake", "kind: vmware", "agent.yaml:6: backend.kind"},
		"an unknown profile":                 {"profile: none", "profile: sgx", "agent.yaml:4: profile: must be none, sev-snp or tdx"},
		"no profile":                         {"profile: none\n", "", "profile: must be"},
		"an unknown key":                     {"profile: none", "profile: none\nprofil: none", "agent.yaml:5: profil"},
		"a guest that is not there":          {guestPath, "/nowhere/guest", "agent.yaml:8: backend.fake.guest"},
		"a guest that is no program":         {guestPath, "/etc/passwd", "backend.fake.guest: must be a program"},
		"a state folder that is relative":    {"/var/lib/x", "x", "agent.yaml:2: state_dir"},
		"a socket that is no path":           {"unix:///run/x.sock", "/run/x.sock", "agent.yaml:3: listen.local"},
		"a socket whose path is too long":    {"/run/x.sock", "/" + strings.Repeat("x", 108), "listen.local: has a path of more than 107 bytes"},
		"an address without a port":          {"127.0.0.1:1", "127.0.0.1", "agent.yaml:3: listen.tcp"},
		"metrics without a port":             {"name: h1", "name: h1\nadmin: 127.0.0.1", "agent.yaml:2: admin"},
		"a cluster that is no name":          {"name: h1", "name: h1\ncluster_id: \"a b\"", "agent.yaml:2: cluster_id"},
		"an unknown insecure mode":           {"name: h1", "name: h1\nallow_insecure: [simulated, all]", "allow_insecure[1]"},
		"a poll that is too long":            {"name: h1", "name: h1\nintervals: {poll: 31s}", "agent.yaml:2: intervals.poll"},
		"a time that is no time":             {"name: h1", "name: h1\nintervals: {poll: soon}", "agent.yaml:2"},
		"more reserved than there is":        {"name: h1", "name: h1\ncapacity: {cpus: 2, reserve_cpus: 3}", "capacity.reserve_cpus"},
		"a listen host that is every one":    {"    guest:", "    listen_host: 0.0.0.0\n    guest:", "backend.fake.listen_host"},
		"a host file that is not there":      {"    guest:", "    host_file: /nowhere.yaml\n    guest:", "backend.fake.host_file"},
		"a fault that is misspelt":           {"    guest:", "    faults: {app: {CASEMATE_SIM_FAULT: dyes}}\n    guest:", "backend.fake.faults.app"},
		"a fault setting that is not known":  {"    guest:", "    faults: {app: {CASEMATE_SIM_FALT: hangs}}\n    guest:", "backend.fake.faults.app"},
		"nothing to listen on":               {`listen: {local: "unix:///run/x.sock", tcp: "127.0.0.1:1"}`, `listen: {local: ""}`, "agent.yaml:3: listen: give local, tcp or both"},
		"a name that is longer than a label": {"name: h1", "name: " + strings.Repeat("h", 64), "agent.yaml:1: name"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good(), c.old, c.new, 1)
			_, err := parse(text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it gives %v, expected %q", err, c.want)
			}
		})
	}
}

func TestTheEnvironmentComesBeforeTheFile(t *testing.T) {
	cfg, err := parse(good(), "CASEMATE_AGENT_NAME=h2", "CASEMATE_AGENT_GPU_SWITCH_MODES=true", "CASEMATE_AGENT_ALLOW_INSECURE=simulated,debug",
		"CASEMATE_AGENT_INTERVALS_BOOT=5s")
	if err != nil || cfg.Name != "h2" || !cfg.GPU.SwitchModes || len(cfg.AllowInsecure) != 2 || cfg.Intervals.Boot != 5*time.Second {
		t.Errorf("config is %+v, %v", cfg, err)
	}
}

func TestInsecureModesAreOffByDefault(t *testing.T) {
	cfg, err := parse(good())
	if err != nil || len(cfg.AllowInsecure) != 0 || cfg.GPU.SwitchModes {
		t.Errorf("config is %+v, %v", cfg, err)
	}
}

func TestTheExampleIsAConfig(t *testing.T) {
	text, err := os.ReadFile("../../../deploy/agent.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("/usr/lib/casemate/guest", guestPath,
		"/etc/casemate/fake-hosts", "../../../deploy/fake-hosts").Replace(string(text))
	if _, err := parse(here); err != nil {
		t.Error(err)
	}
}

func TestCheckSaysOKOrWhatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	for text, want := range map[string]string{good(): "ok", strings.Replace(good(), "fake", "containerd", 1): path + ":6: backend.kind: containerd is not built"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(agentPath, "--check", "--config", path).CombinedOutput()
		if (err == nil) != (want == "ok") || !strings.Contains(string(out), want) {
			t.Errorf("--check says %q, %v; expected %q", out, err, want)
		}
	}
}

func TestTheServiceManagerIsTold(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	t.Setenv("NOTIFY_SOCKET", socket)
	h := newHost(t, "10m")
	said := func(want string) {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		for {
			n, err := l.Read(buf)
			if err != nil {
				t.Fatalf("%s is not said: %v", want, err)
			}
			if bytes.Contains(buf[:n], []byte(want)) {
				return
			}
		}
	}
	said("READY=1")
	said("WATCHDOG=1")
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	said("STOPPING=1")
	if err := h.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

func TestTwoAgentsDoNotShareAHost(t *testing.T) {
	h := newHost(t, "10m")
	out, err := exec.Command(agentPath, "--config", h.config).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another agent") {
		t.Errorf("a second agent ends with %v: %s", err, out)
	}
	h.create("a", newSpec(0))
	h.await("a", "healthy", in(healthy))
	h.stop("a")
	h.await("a", "gone", gone)
}
