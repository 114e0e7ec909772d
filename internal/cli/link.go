package cli

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// retries repeats calls that found nobody: while a coordinator restarts, for
// about two seconds. Every call that changes something carries a request id, so
// that a repetition has no second effect.
const retries = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":5,
"initialBackoff":"0.2s","maxBackoff":"1s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// link is the connection to the coordinator.
type link struct {
	conn       *grpc.ClientConn
	org        string
	containers cv1.ContainerServiceClient
	updates    cv1.UpdateServiceClient
	revisions  cv1.RevisionServiceClient
	secrets    cv1.SecretServiceClient
	hosts      cv1.HostServiceClient
	routes     cv1.RouteServiceClient
	events     cv1.EventServiceClient
	backups    cv1.BackupServiceClient
}

// connect returns the connection, made when first asked for.
func (a *app) connect() (*link, error) {
	if a.link != nil {
		return a.link, nil
	}
	address, org, err := a.settings()
	if err != nil {
		return nil, err
	}
	conn, err := a.env.Dial(address, grpc.WithDefaultServiceConfig(retries))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	a.link = &link{
		conn: conn, org: org,
		containers: cv1.NewContainerServiceClient(conn),
		updates:    cv1.NewUpdateServiceClient(conn),
		revisions:  cv1.NewRevisionServiceClient(conn),
		secrets:    cv1.NewSecretServiceClient(conn),
		hosts:      cv1.NewHostServiceClient(conn),
		routes:     cv1.NewRouteServiceClient(conn),
		events:     cv1.NewEventServiceClient(conn),
		backups:    cv1.NewBackupServiceClient(conn),
	}
	return a.link, nil
}

func (a *app) close() {
	if a.link != nil {
		_ = a.link.conn.Close()
	}
}

// call makes one call within --timeout.
func call[Q, R any](ctx context.Context, a *app, fn func(context.Context, Q, ...grpc.CallOption) (R, error), req Q) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, a.flags.timeout)
	defer cancel()
	return fn(ctx, req)
}

// maxPages bounds a listing: 100 pages of 1000.
const maxPages = 100

// pageSize is how much is asked for at once.
const pageSize = 1000

// pages collects the pages of a listing.
func pages[T any](next func(token string) ([]T, string, error)) ([]T, error) {
	var all []T
	token := ""
	for range maxPages {
		items, more, err := next(token)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if more == "" {
			return all, nil
		}
		token = more
	}
	return nil, failedf("the listing has more than %d entries", maxPages*pageSize)
}
