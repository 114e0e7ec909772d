package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// empty deletes the containers that are left and then wants every host to be as
// it was before anything ran: no enclave that lives, no claim, no reservation.
func (f *fleet) empty(ctx context.Context) error {
	if err := f.deleteAll(ctx); err != nil {
		return err
	}
	var errs []error
	for n := range f.Agents {
		errs = append(errs, f.hostEmpty(ctx, n))
	}
	return errors.Join(append(errs, f.roomFree(ctx), f.routesGone(ctx))...)
}

func (f *fleet) deleteAll(ctx context.Context) error {
	r, err := f.Containers.ListContainers(ctx, &cv1.ListContainersRequest{Org: dev.Org, PageSize: 1000})
	if err != nil {
		return fmt.Errorf("list what is left: %w", err)
	}
	for _, c := range r.GetContainers() {
		if _, err := f.Containers.DeleteContainer(ctx, &cv1.DeleteContainerRequest{Org: dev.Org, Name: c.GetName()}); err != nil {
			return fmt.Errorf("delete %s: %w", c.GetName(), err)
		}
	}
	for _, c := range r.GetContainers() {
		gone := func(c *cv1.Container) bool { return c == nil }
		if err := f.AwaitContainer(ctx, c.GetName(), gone); err != nil {
			return fmt.Errorf("await the end of %s: %w", c.GetName(), err)
		}
	}
	return nil
}

// hostEmpty asks the agent itself.
func (f *fleet) hostEmpty(ctx context.Context, n int) error {
	conn, err := rpc.Dial(f.AgentSocket(n))
	if err != nil {
		return err
	}
	r, err := agentv1.NewEnclaveServiceClient(conn).ListEnclaves(ctx, &agentv1.ListEnclavesRequest{PageSize: 1000})
	if err != nil {
		return errors.Join(fmt.Errorf("list enclaves of %s: %w", dev.HostName(n), err), conn.Close())
	}
	var errs []error
	for _, e := range r.GetEnclaves() {
		ended := e.GetState() == agentv1.EnclaveState_ENCLAVE_STATE_STOPPED || e.GetState() == agentv1.EnclaveState_ENCLAVE_STATE_FAILED
		if !ended || e.GetClaimed() {
			errs = append(errs, fmt.Errorf("orphan %s on %s: %s, claimed %v", e.GetId(), dev.HostName(n), e.GetState(), e.GetClaimed()))
		}
	}
	h, err := agentv1.NewHostServiceClient(conn).GetHost(ctx, &agentv1.GetHostRequest{})
	for _, g := range h.GetHost().GetGpus() {
		if g.GetEnclaveId() != "" {
			errs = append(errs, fmt.Errorf("GPU %s of %s is still held by %s", g.GetBdf(), dev.HostName(n), g.GetEnclaveId()))
		}
	}
	return errors.Join(append(errs, err, conn.Close())...)
}

// roomFree wants the coordinator to have given back every reservation. What the
// agents report arrives a moment after they have said that an enclave is gone.
func (f *fleet) roomFree(ctx context.Context) error {
	for {
		hosts, err := f.hostList(ctx)
		if err != nil {
			return err
		}
		var errs []error
		for _, h := range hosts {
			if h.GetStatus() != cv1.HostStatus_HOST_STATUS_READY {
				continue
			}
			if free, total := h.GetFree(), h.GetTotal(); free.GetCpus() != total.GetCpus() || free.GetMemoryMib() != total.GetMemoryMib() || free.GetGpus() < sound(h) {
				errs = append(errs, fmt.Errorf("host %s is not free: %v of %v", h.GetName(), free, total))
			}
		}
		if len(errs) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errs...)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// hostList lists the hosts as the coordinator knows them.
func (f *fleet) hostList(ctx context.Context) ([]*cv1.Host, error) {
	r, err := f.Hosts.ListHosts(ctx, &cv1.ListHostsRequest{PageSize: 1000})
	if err != nil {
		return nil, fmt.Errorf("list hosts: %w", err)
	}
	return r.GetHosts(), nil
}

// sound counts the cards of a host that can be given to an enclave.
func sound(h *cv1.Host) uint32 {
	var n uint32
	for _, g := range h.GetFacts().GetGpus() {
		if g.GetHealthy() {
			n++
		}
	}
	return n
}

func (f *fleet) routesGone(ctx context.Context) error {
	r, err := f.Routes.ListRoutes(ctx, &cv1.ListRoutesRequest{PageSize: 1000})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	if n := len(r.GetRoutes()); n > 0 {
		return fmt.Errorf("%d routes are left, the first is %v", n, r.GetRoutes()[0])
	}
	return nil
}

// plaintexts are all secret values that tests use; they begin alike, so that a
// trace of any is found.
const secretMark = "plaintext-of-a-secret"

// secretsUnseen reads everything the fleet has written: logs, store, ledgers,
// consoles, routes.
func (f *fleet) secretsUnseen() error {
	files := 0
	err := filepath.WalkDir(f.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // swept away meanwhile
			}
			return err
		}
		if !d.Type().IsRegular() || strings.Contains(path, "/repos/") {
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		if bytes.Contains(data, []byte(secretMark)) {
			return fmt.Errorf("a secret's value stands in %s", path)
		}
		return err
	})
	if err == nil && files < 4 {
		err = fmt.Errorf("only %d files were found below %s: the search is broken", files, f.Dir)
	}
	return err
}
