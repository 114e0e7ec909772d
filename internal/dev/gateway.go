package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// look is the time between two looks at a gateway, which tells of itself only
// when asked.
const look = 20 * time.Millisecond

// awaitGateway asks a gateway's admin address until it has heard a coordinator.
func awaitGateway(ctx context.Context, admin string, dial Dial) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	for {
		heard, err := hasCluster(ctx, client, admin)
		if heard {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the gateway at %s does not follow the coordinator: %w", admin, errors.Join(ctx.Err(), err))
		}
	}
}

// hasCluster says whether a gateway knows whose routes it serves.
func hasCluster(ctx context.Context, client *http.Client, admin string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/routes", nil)
	if err != nil {
		return false, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return false, err
	}
	var listing struct {
		ClusterID string `json:"cluster_id"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&listing)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return false, fmt.Errorf("read the routes: %w", err)
	}
	return listing.ClusterID != "", nil
}
