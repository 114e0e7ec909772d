// Package deploy checks the example configurations against the daemons.
package deploy

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"github.com/casemate-dev/casemate/internal/coordinator"
	"github.com/casemate-dev/casemate/internal/gateway/gatewayd"
	"github.com/casemate-dev/casemate/internal/yamlconfig"
)

func parse[T any](t *testing.T, file string) T {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := yamlconfig.Parse[T](yamlconfig.Source{Name: file, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	checkKeys(t, file, text, reflect.TypeFor[T]())
	return cfg
}

// checkKeys reports keys of the configuration that its example does not show.
func checkKeys(t *testing.T, file string, text []byte, config reflect.Type) {
	t.Helper()
	var shown map[string]any
	if err := yaml.Unmarshal(text, &shown); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys(config, "") {
		var at any = shown
		for part := range strings.SplitSeq(key, ".") {
			section, _ := at.(map[string]any)
			at = section[part]
		}
		if at == nil {
			t.Errorf("%s does not show %s", file, key)
		}
	}
}

func keys(config reflect.Type, prefix string) []string {
	var out []string
	for f := range config.Fields() {
		name := prefix + f.Tag.Get("yaml")
		if f.Type.Kind() == reflect.Struct {
			out = append(out, keys(f.Type, name+".")...)
			continue
		}
		out = append(out, name)
	}
	return out
}

func TestTheCoordinatorsExampleHasEveryKeyAndTheDefaults(t *testing.T) {
	got := parse[coordinator.Config](t, "coordinator.example.yaml")
	var want coordinator.Config
	want.SetDefaults()
	want.BaseDomain = "apps.example.com"
	if diff := cmp.Diff(want, got, emptyIsNil); diff != "" {
		t.Errorf("the example differs from the defaults (-default +example):\n%s", diff)
	}
}

func TestTheGatewaysExampleHasEveryKeyAndTheDefaults(t *testing.T) {
	got := parse[gatewayd.Config](t, "gateway.example.yaml")
	var want gatewayd.Config
	want.SetDefaults()
	want.Name, want.Coordinator = "gateway-1", "10.0.0.10:7443"
	if diff := cmp.Diff(want, got, emptyIsNil); diff != "" {
		t.Errorf("the example differs from the defaults (-default +example):\n%s", diff)
	}
}

// The units and the examples must agree on where things lie.
func TestTheUnitsHaveTheFoldersOfTheDefaults(t *testing.T) {
	var c coordinator.Config
	c.SetDefaults()
	var g gatewayd.Config
	g.SetDefaults()
	for unit, want := range map[string][]string{
		"coordinator": {"StateDirectory=" + strings.TrimPrefix(c.StateDir, "/var/lib/"), "LoadCredential=" + c.SecretsKey + ":", "ReadWritePaths=/run/casemate"},
		"gateway":     {"StateDirectory=" + strings.TrimPrefix(g.StateDir, "/var/lib/")},
	} {
		text, err := os.ReadFile("systemd/casemate-" + unit + ".service")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		for _, w := range want {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, w) }) {
				t.Errorf("the unit of the %s lacks %s", unit, w)
			}
		}
	}
}

var emptyIsNil = cmpopts.EquateEmpty()
