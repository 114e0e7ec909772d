package fake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/faults"
)

// Config is what a fake backend is made of.
type Config struct {
	// Dir is where the enclaves' folders lie; it is made if it is missing. One
	// backend uses it at a time.
	Dir string
	// GuestPath is the guest's binary.
	GuestPath string
	// InProcess runs guests in this process instead, for unit tests and
	// simulation: it boots the enclave of the folder and returns when powerOff was
	// closed and it has powered off; the end of ctx is a power cut. Such enclaves
	// die with the backend.
	InProcess func(ctx context.Context, dir string, powerOff <-chan struct{}) error
	// ListenHost is the address on which guests listen; 127.0.0.1 if empty.
	ListenHost string
	// Faults are settings of package faults by container name, which come before
	// those of the config: they make this host faulty.
	Faults map[string]map[string]string
	// Machine makes the hardware that an enclave's guest plays, in the form that
	// vendors.ParseMachine reads; if it is nil the guest's evidence is a mark that
	// nobody signs.
	Machine func(in enclave.Instance) ([]byte, error)
	// Now is time.Now if nil.
	Now func() time.Time
	// Log takes one line per event that matters; nil discards.
	Log *slog.Logger
}

func (c *Config) fill() error {
	if c.Dir == "" {
		return errors.New("fake backend: a folder for the enclaves is needed")
	}
	if (c.GuestPath == "") == (c.InProcess == nil) {
		return errors.New("fake backend: give either the guest's binary or a guest to run in this process")
	}
	if c.ListenHost == "" {
		c.ListenHost = "127.0.0.1"
	}
	if ip := net.ParseIP(c.ListenHost); ip == nil || ip.IsUnspecified() {
		return fmt.Errorf("fake backend: listen address %q must be the IP address by which gateways reach this host", c.ListenHost)
	}
	for container, settings := range c.Faults {
		if _, err := faults.Parse(settings); err != nil {
			return fmt.Errorf("fake backend: faults of container %s: %w", container, err)
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c.makeDir()
}

func (c *Config) makeDir() error {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("fake backend: %w", err)
	}
	c.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("fake backend: make the enclaves' folder: %w", err)
	}
	return nil
}
