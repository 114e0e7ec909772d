package guestclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/enclave/secretmsg"
)

// Boot returns the boot status. With wait above 0 the answer comes once the
// version is greater than after, or when wait (at most guestapi.MaxWait) is over.
func (c *Client) Boot(ctx context.Context, after uint64, wait time.Duration) (*guestapi.BootStatus, error) {
	query := url.Values{}
	if wait > 0 {
		wait = min(wait, guestapi.MaxWait)
		seconds := int64((wait + time.Second - 1) / time.Second)
		query.Set(guestapi.AfterParam, strconv.FormatUint(after, 10))
		query.Set(guestapi.WaitParam, strconv.FormatInt(seconds, 10))
	}
	body, err := c.get(ctx, guestapi.BootPath, query, guestapi.MaxBoot, c.cfg.Timeout+wait)
	if err != nil {
		return nil, fmt.Errorf("ask the guest for its boot status: %w", err)
	}
	return guestapi.ParseBoot(body)
}

// Attestation returns the guest's evidence document over the nonce, unread, and
// the digest of the TLS key that it came from. Verify it against that digest.
func (c *Client) Attestation(ctx context.Context, nonce [32]byte) ([]byte, [sha256.Size]byte, error) {
	query := url.Values{guestapi.NonceParam: {hex.EncodeToString(nonce[:])}}
	body, err := c.get(ctx, guestapi.AttestationPath, query, evidence.MaxBytes, c.cfg.Timeout)
	if err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("ask the guest for evidence: %w", err)
	}
	digest, err := c.KeyDigest()
	return body, digest, err
}

// DeliverSecrets sends a message made by secretmsg.Sign to the enclave whose TLS
// key has this digest. It sends nothing if the client has met another key.
func (c *Client) DeliverSecrets(ctx context.Context, keyDigest [sha256.Size]byte, message []byte) error {
	if len(message) > secretmsg.MaxBytes {
		return fmt.Errorf("deliver secrets: %d bytes; at most %d are taken", len(message), secretmsg.MaxBytes)
	}
	met, err := c.KeyDigest()
	if err != nil {
		return fmt.Errorf("deliver secrets: %w: verify evidence over this client first", err)
	}
	if met != keyDigest {
		return fmt.Errorf("deliver secrets: %w: verified %x, connected to %x", ErrKeyChanged, keyDigest, met)
	}
	_, err = c.call(ctx, http.MethodPost, guestapi.SecretsPath, nil, message, guestapi.MaxRefusal, c.cfg.Timeout)
	if err != nil {
		return fmt.Errorf("deliver secrets: %w", err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, limit int64, timeout time.Duration) ([]byte, error) {
	return c.call(ctx, http.MethodGet, path, query, nil, limit, timeout)
}

func (c *Client) call(
	ctx context.Context, method, path string, query url.Values, body []byte, limit int64, timeout time.Duration,
) (answer []byte, err error) {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	target := url.URL{Scheme: "https", Host: c.cfg.Endpoint, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if c.cfg.ServerName != "" {
		req.Host = c.cfg.ServerName
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err = readAtMost(resp.Body, limit)
	if err != nil {
		return nil, fmt.Errorf("read the guest's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, guestapi.ParseRefusal(resp.StatusCode, answer)
	}
	return answer, nil
}

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return b, nil
}
