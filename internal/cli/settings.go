package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/casemate-dev/casemate/internal/yamlconfig"
)

const (
	defaultCoordinator = "unix:///run/casemate/coordinator.sock"
	defaultOrg         = "default"
)

// contextFile is what a person always means: which coordinator, which org.
type contextFile struct {
	Address string `yaml:"address"`
	Org     string `yaml:"org"`
}

// settings are flags over environment over the context file over defaults.
func (a *app) settings() (address, org string, err error) {
	address = first(a.flags.coordinator, a.env.Getenv("CASEMATE_COORDINATOR"))
	org = first(a.flags.org, a.env.Getenv("CASEMATE_ORG"))
	if address != "" && org != "" {
		return address, org, nil
	}
	file, err := a.contextFile()
	if err != nil {
		return "", "", err
	}
	return first(address, file.Address, defaultCoordinator), first(org, file.Org, defaultOrg), nil
}

// address is the coordinator's address for messages.
func (a *app) address() string {
	address, _, err := a.settings()
	if err != nil {
		return first(a.flags.coordinator, defaultCoordinator)
	}
	return address
}

func (a *app) contextFile() (contextFile, error) {
	dir := a.env.Getenv("XDG_CONFIG_HOME")
	if dir == "" && a.env.Home != "" {
		dir = filepath.Join(a.env.Home, ".config")
	}
	if dir == "" {
		return contextFile{}, nil
	}
	path := filepath.Join(dir, "casemate", "config.yaml")
	text, err := a.read(path, yamlconfig.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return contextFile{}, nil
	}
	if err != nil {
		return contextFile{}, fmt.Errorf("context file: %w", err)
	}
	file, err := yamlconfig.Parse[contextFile](yamlconfig.Source{Name: path, Text: text})
	if err != nil {
		return contextFile{}, fmt.Errorf("context file: %w", err)
	}
	return file, nil
}

// read reads a file of at most limit bytes.
func (a *app) read(path string, limit int64) ([]byte, error) {
	f, err := a.env.Open(path)
	if err != nil {
		return nil, err // it names file and cause
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return text, nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
