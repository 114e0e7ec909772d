// Package tsm gets reports from the processor that protects this machine: through
// the kernel's configfs-tsm, or through the older device files where there is none.
//
// Sources: Documentation/ABI/testing/configfs-tsm-report and
// Documentation/virt/coco/{sev-guest,tdx-guest}.rst of Linux.
package tsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/linuxtsm"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// ErrNoTEE says that nothing on this machine gives reports.
var ErrNoTEE = errors.New("this machine gives no reports: neither configfs-tsm nor /dev/sev-guest nor /dev/tdx_guest is there")

// Config says where reports come from. Its zero value is the usual one.
type Config struct {
	// Client reads and writes configfs; nil is the kernel's, where it has one.
	Client configfsi.Client
	// Root is the root of the filesystem with the device files; "" means /.
	Root string
	// Devices gives the evidence of GPUs and switches over a nonce; nil gives none.
	Devices func(ctx context.Context, nonce [32]byte) ([][]byte, error)
}

// Source gets reports. It is safe for concurrent use; the processor makes one
// report at a time.
type Source struct {
	format  attest.Format
	read    reader
	devices func(context.Context, [32]byte) ([][]byte, error)
	turn    chan struct{} // holds a token while nobody asks
}

// reader has a report made, and returns what the host gave beside it.
type reader func(data [64]byte) (report, auxiliary []byte, err error)

// New looks for configfs-tsm and then for the device files. Errors wrap ErrNoTEE
// where there is nothing.
func New(c Config) (*Source, error) {
	s := &Source{devices: c.Devices, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	if c.Client == nil {
		if kernel, err := linuxtsm.MakeClient(); err == nil {
			c.Client = kernel
		}
	}
	var err error
	if c.Client != nil {
		s.format, s.read, err = openConfigfs(c.Client)
	} else {
		s.format, s.read, err = openDevices(c.Root)
	}
	if err != nil {
		return nil, fmt.Errorf("open the source of reports: %w", err)
	}
	return s, nil
}

// Format is the kind of the reports.
func (s *Source) Format() attest.Format { return s.format }

// HostData is the digest of the platform part that was set at launch: HOST_DATA, or
// the first 32 bytes of MRCONFIGID, behind which zeroes must follow.
func (s *Source) HostData(ctx context.Context) ([32]byte, error) {
	raw, _, err := s.ask(ctx, [64]byte{})
	if err != nil {
		return [32]byte{}, err
	}
	f, err := parse(s.format, raw)
	if err != nil {
		return [32]byte{}, err
	}
	if !allZero(f.behind) {
		return [32]byte{}, fmt.Errorf("MRCONFIGID is %x%x, which is no digest of 32 bytes padded with zeroes", f.hostData, f.behind)
	}
	return f.hostData, nil
}

// Devices returns one document for each GPU and switch over the nonce.
func (s *Source) Devices(ctx context.Context, nonce [32]byte) ([][]byte, error) {
	if s.devices == nil {
		return nil, nil
	}
	return s.devices(ctx, nonce)
}

// Report returns a report over the data and the certificates that came with it: for
// SEV-SNP the VCEK or VLEK, then ASK or ASVK, then ARK. A report over other data
// than was asked is an error.
func (s *Source) Report(ctx context.Context, data [64]byte) ([]byte, [][]byte, error) {
	raw, auxiliary, err := s.ask(ctx, data)
	if err != nil {
		return nil, nil, err
	}
	f, err := parse(s.format, raw)
	if err != nil {
		return nil, nil, err
	}
	if f.reportData != data {
		return nil, nil, errors.New("the report is over other data than was asked: something else asks for reports at the same place")
	}
	certificates, err := certificatesOf(s.format, raw, auxiliary)
	return raw, certificates, err
}

// ask has a report made when its turn comes. A kernel that doesn't answer holds the
// turn; whoever waits gives up when ctx ends.
func (s *Source) ask(ctx context.Context, data [64]byte) (raw, auxiliary []byte, err error) {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("wait for the processor: %w", ctx.Err())
	}
	type answer struct {
		raw, auxiliary []byte
		err            error
	}
	done := make(chan answer, 1)
	go func() {
		defer func() { s.turn <- struct{}{} }()
		var a answer
		a.raw, a.auxiliary, a.err = s.read(data)
		done <- a
	}()
	select {
	case a := <-done:
		return a.raw, a.auxiliary, a.err
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("wait for a report: %w", ctx.Err())
	}
}

// providers are the names of the kernel's drivers.
var providers = map[string]attest.Format{"sev_guest": attest.FormatSEVSNP, "tdx_guest": attest.FormatTDX}

func formatOf(provider string) (attest.Format, error) {
	name := strings.TrimSpace(provider)
	if f, ok := providers[name]; ok {
		return f, nil
	}
	known := make([]string, 0, len(providers))
	for p := range providers {
		known = append(known, p)
	}
	slices.Sort(known)
	return "", fmt.Errorf("the kernel's provider is %.40q, known are %v", name, known)
}

func allZero(b []byte) bool {
	return !slices.ContainsFunc(b, func(x byte) bool { return x != 0 })
}
