package yamlconfig

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Name   string `yaml:"name"`
	Listen struct {
		TCP   string `yaml:"tcp"`
		Local string `yaml:"local"`
	} `yaml:"listen"`
	Grace   time.Duration     `yaml:"grace"`
	Log     Size              `yaml:"log"`
	Allow   []string          `yaml:"allow"`
	Faults  map[string]string `yaml:"faults"`
	CPUs    int               `yaml:"cpus"`
	Reserve uint64            `yaml:"reserve-all"`
	On      bool              `yaml:"on"`
}

func (s *sample) SetDefaults() { s.Grace, s.Listen.Local = time.Minute, "unix:///run/x.sock" }

func (s *sample) Validate() error {
	var errs []error
	if s.Name == "" {
		errs = append(errs, Problem("name", "is required"))
	}
	if strings.Contains(s.Listen.TCP, "*") {
		errs = append(errs, Problem("listen.tcp", "write 0.0.0.0 for every address"))
	}
	if s.CPUs < 0 {
		errs = append(errs, errors.New("too few CPUs"))
	}
	return errors.Join(errs...)
}

func parse(t *testing.T, text string, environ ...string) (sample, error) {
	t.Helper()
	return Parse[sample](Source{Name: "agent.yaml", Text: []byte(text), Prefix: "CASEMATE_AGENT", Environ: environ})
}

func TestFileOverDefaultsAndEnvironmentOverFile(t *testing.T) {
	text := "name: a\nlisten: {tcp: ':1'}\nlog: 16MiB\nallow: [x]\ncpus: 4\nfaults: {A: '1'}\n"
	got, err := parse(t, text,
		"CASEMATE_AGENT_NAME=007", "CASEMATE_AGENT_LISTEN_TCP=:2", "CASEMATE_AGENT_GRACE=5s", "CASEMATE_AGENT_LOG=1GiB",
		"CASEMATE_AGENT_ALLOW=simulated, debug", "CASEMATE_AGENT_RESERVE_ALL=9", "CASEMATE_AGENT_ON=true", "CASEMATE_AGENTS=not ours")
	if err != nil {
		t.Fatal(err)
	}
	want := sample{Name: "007", Grace: 5 * time.Second, Log: 1 << 30, Allow: []string{"simulated", "debug"},
		Faults: map[string]string{"A": "1"}, CPUs: 4, Reserve: 9, On: true}
	want.Listen.TCP, want.Listen.Local = ":2", "unix:///run/x.sock"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestAnEmptyFileIsTheDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n"} {
		got, err := parse(t, text, "CASEMATE_AGENT_NAME=a")
		if err != nil || got.Grace != time.Minute {
			t.Errorf("%q: %+v, %v; the defaults are expected", text, got, err)
		}
	}
}

func TestRefusalsNameTheLine(t *testing.T) {
	for name, c := range map[string]struct {
		text, env string
		want      []string
	}{
		"an unknown key":                {"name: a\nlissten: {}\n", "", []string{"agent.yaml:2: lissten: there is no such key"}},
		"an unknown key inside":         {"name: a\nlisten:\n  tcp: x\n  udp: y\n", "", []string{"agent.yaml:4: udp: there is no such key"}},
		"a repeated key":                {"name: a\nname: b\n", "", []string{"agent.yaml:2", "name"}},
		"an alias":                      {"name: &x a\nallow: [*x]\n", "", []string{"agent.yaml:2: allow[0]: aliases"}},
		"a merge key":                   {"listen: &l {tcp: x}\nfaults:\n  <<: {a: b}\n", "", []string{"agent.yaml:3", "merge"}},
		"a text for a number":           {"name: a\ncpus: many\n", "", []string{"agent.yaml:2"}},
		"a size without sense":          {"name: a\nlog: 3 parsecs\n", "", []string{"agent.yaml:2", "no size"}},
		"a time without sense":          {"name: a\n\ngrace: soon\n", "", []string{"agent.yaml:3"}},
		"broken YAML":                   {"name: a\nlisten: {tcp: \n", "", []string{"agent.yaml:"}},
		"a list at the top":             {"- name\n", "", []string{"agent.yaml:1"}},
		"what Validate finds":           {"name: a\nlisten:\n  tcp: '*:1'\n", "", []string{"agent.yaml:3: listen.tcp: write 0.0.0.0"}},
		"a missing key":                 {"cpus: 1\n", "", []string{"agent.yaml: name: is required"}},
		"all that Validate finds":       {"cpus: -1\n", "", []string{"name: is required", "too few CPUs"}},
		"a variable that Validate hits": {"name: a\n", "CASEMATE_AGENT_LISTEN_TCP=*:1", []string{"agent.yaml: CASEMATE_AGENT_LISTEN_TCP: write 0.0.0.0"}},
		"an unknown variable":           {"name: a\n", "CASEMATE_AGENT_NANE=b", []string{"CASEMATE_AGENT_NANE: no key"}},
		"a variable that is no number":  {"name: a\n", "CASEMATE_AGENT_CPUS=x", []string{"CASEMATE_AGENT_CPUS", "a number is expected"}},
		"a variable that is no time":    {"name: a\n", "CASEMATE_AGENT_GRACE=x", []string{"a time such as 30s"}},
		"a variable that is no size":    {"name: a\n", "CASEMATE_AGENT_LOG=x", []string{"a size such as 16MiB"}},
		"a variable that is no switch":  {"name: a\n", "CASEMATE_AGENT_ON=perhaps", []string{"true or false"}},
		"a second document":             {"name: a\n---\nname: b\n", "", []string{"agent.yaml"}},
		"a file that is too large":      {"#" + strings.Repeat("x", MaxFile), "", []string{"more than"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse(t, c.text, c.env)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("accepted as %+v (%v)", got, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is\n%v\nand lacks %q", err, want)
				}
			}
		})
	}
}

func TestLoadReadsTheProcessEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte("name: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CASEMATE_TEST_NAME", "b")
	got, err := Load[sample](path, "CASEMATE_TEST")
	if err != nil || got.Name != "b" {
		t.Errorf("name is %q, %v; expected b", got.Name, err)
	}
	if _, err := Load[sample](path+".gone", "CASEMATE_TEST"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "512": 512, "1KiB": 1024, "16 MiB": 16 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "7B": 7} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%q is %d, %v; expected %d", text, got, err, want)
		}
		if back, err := ParseSize(got.String()); err != nil || back != got {
			t.Errorf("%q is written %s, which reads %d, %v", text, got, back, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "1GB", "GiB", "99999999999999TiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: a\nlisten: {tcp: x}\n"))
	f.Add([]byte("name: &a [*a]\n<<: {}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := Parse[sample](Source{Name: "f", Text: text})
		var e *Error
		if err != nil && (!errors.As(err, &e) || len(e.Faults) == 0) {
			t.Errorf("a refusal without faults: %v", err)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, text := range []string{"512", "16KiB", "64 MiB", "16777216TiB", "-1", "1e3B", "B"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			return
		}
		if again, err := ParseSize(size.String()); err != nil || again != size {
			t.Errorf("%q is %d, written as %s, which is %d, %v", text, size, size, again, err)
		}
	})
}
