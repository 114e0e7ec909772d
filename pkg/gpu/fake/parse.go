package fake

import (
	"errors"
	"fmt"
	"time"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// MaxFile is the largest description that is read, in bytes.
const MaxFile = 64 << 10

// file is the YAML form of a Host. Pointers tell what is absent from what is
// zero, so that a preset shows through.
type file struct {
	Version    int     `yaml:"version"`
	Preset     string  `yaml:"preset"`
	Name       string  `yaml:"name"`
	Model      *string `yaml:"model"`
	GPUs       *int    `yaml:"gpus"`
	Switches   *int    `yaml:"switches"`
	Mode       *string `yaml:"mode"`
	ModeSwitch struct {
		Duration   string `yaml:"duration"`
		Fail       string `yaml:"fail"`
		LeaveMixed bool   `yaml:"leave_mixed"`
	} `yaml:"mode_switch"`
	Cards []struct {
		Index   *int   `yaml:"index"`
		Sick    string `yaml:"sick"`
		MIG     bool   `yaml:"mig"`
		Mode    string `yaml:"mode"`
		Driver  string `yaml:"driver"`
		Missing bool   `yaml:"missing"`
	} `yaml:"cards"`
}

// Parse reads a description: one YAML document of at most MaxFile bytes, no
// unknown or duplicate keys, no aliases. Errors match ErrHost and name the
// line where the parser knows it.
func Parse(text []byte) (Host, error) {
	if len(text) > MaxFile {
		return Host{}, fmt.Errorf("%w: the file is larger than %d bytes", ErrHost, MaxFile)
	}
	var f file
	err := yaml.Load(text, &f, yaml.WithKnownFields(), yaml.WithUniqueKeys(),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.AliasFunc(noAlias))))
	if err != nil {
		return Host{}, fmt.Errorf("%w: %w", ErrHost, err)
	}
	if f.Version != 1 {
		return Host{}, fmt.Errorf("%w: version is %d; this program reads version 1", ErrHost, f.Version)
	}
	h, err := f.host()
	if err != nil {
		return Host{}, err
	}
	return h, h.Validate()
}

// noAlias refuses a document that uses an alias.
func noAlias(aliases, _ int) error {
	if aliases > 0 {
		return errors.New("aliases are not accepted: write the value out")
	}
	return nil
}

// host lays the file's values over its preset.
func (f file) host() (Host, error) {
	var h Host
	if f.Preset != "" {
		var err error
		if h, err = Preset(f.Preset); err != nil {
			return Host{}, err
		}
	}
	h.Name = f.Name
	set(&h.Model, f.Model)
	set(&h.GPUs, f.GPUs)
	set(&h.Switches, f.Switches)
	if f.Mode != nil {
		h.Mode = gpu.Mode(*f.Mode)
	}
	h.ModeSwitch = ModeSwitch{Fail: f.ModeSwitch.Fail, LeaveMixed: f.ModeSwitch.LeaveMixed}
	if text := f.ModeSwitch.Duration; text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return Host{}, fmt.Errorf("%w: mode_switch.duration: %w", ErrHost, err)
		}
		h.ModeSwitch.Duration = d
	}
	if f.Cards != nil {
		h.Cards = nil
	}
	for _, c := range f.Cards {
		if c.Index == nil {
			return Host{}, fmt.Errorf("%w: a card without index", ErrHost)
		}
		h.Cards = append(h.Cards, Card{Index: *c.Index, Sick: c.Sick, MIG: c.MIG,
			Mode: gpu.Mode(c.Mode), Driver: gpu.Driver(c.Driver), Missing: c.Missing})
	}
	return h, nil
}

// set overwrites *to if there is something to overwrite it with.
func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
