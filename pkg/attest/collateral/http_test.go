package collateral_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

func TestWhatIntelPublishesIsFetchedAndVerifies(t *testing.T) {
	i := newIntel(t, now)
	v := newVendor(t, i.ServeHTTP)
	g := v.getter(t, patience)
	var got []*collateral.Document
	for _, r := range i.requests(t) {
		d, err := g.Get(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if !d.Expires.Equal(now.Add(30*24*time.Hour-time.Hour)) && !d.Expires.After(now) {
			t.Errorf("%s ends at %s, want what it says itself", r.File, d.Expires)
		}
		got = append(got, d)
	}
	c := &tdx.Collateral{
		TCBInfo: got[0].Body, TCBInfoChain: got[0].Chain, QEIdentity: got[1].Body, QEIdentityChain: got[1].Chain,
		PCKCRL: got[2].Body, PCKCRLChain: got[2].Chain, RootCRL: got[3].Body,
	}
	verifier, err := tdx.NewVerifier(tdx.Config{Root: i.pki.Root.Cert})
	if err != nil {
		t.Fatal(err)
	}
	verdict := verifier.Verify(tdx.Evidence{Quote: i.quote(t)}, c, tdx.Policy{Absent: tdx.AbsentListed}, now)
	if err := verdict.Err(); err != nil {
		t.Errorf("what was fetched doesn't verify: %v", err)
	}
}

func TestHostileServersAreRefused(t *testing.T) {
	i := newIntel(t, now)
	elsewhere := newVendor(t, i.ServeHTTP)
	long := strings.Repeat("x", 70<<10)
	tcbInfo := i.requests(t)[0]
	rootCRL := i.requests(t)[3]
	serve := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("TCB-Info-Issuer-Chain", string(i.now.TCBInfoChain[:0])+"x")
			_, _ = w.Write(body)
		}
	}
	for _, c := range []struct {
		rule  string
		req   collateral.Request
		serve http.HandlerFunc
		want  error // nil: any error
		says  string
	}{
		{"huge", rootCRL, func(w http.ResponseWriter, _ *http.Request) {
			for range 9 {
				_, _ = w.Write(bytes.Repeat([]byte{'x'}, 1<<20))
			}
		}, collateral.ErrContent, "larger"},
		{"slow to begin", rootCRL, func(_ http.ResponseWriter, r *http.Request) { hang(r) }, nil, "deadline"},
		{"redirect elsewhere", rootCRL, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
		}, nil, "redirects elsewhere"},
		{"redirect to plain http", rootCRL, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+r.URL.Path, http.StatusFound)
		}, nil, "redirects elsewhere"},
		{"redirect in a ring", rootCRL, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, nil, "redirects elsewhere"},
		{"an error page with 200", rootCRL, serve([]byte("<html>sorry</html>")), collateral.ErrContent, ""},
		{"an empty answer", rootCRL, serve(nil), collateral.ErrContent, ""},
		{"not there", rootCRL, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, collateral.ErrNotFound, ""},
		{"forbidden", rootCRL, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, nil, "403"},
		{"no content", rootCRL, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, nil, "204"},
		{"no issuer chain", tcbInfo, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(i.now.TCBInfo) }, collateral.ErrContent, "issuer chain is missing"},
		{"an issuer chain that is none", tcbInfo, serve(i.now.TCBInfo), collateral.ErrContent, "issuer chain"},
		{"an endless issuer chain", tcbInfo, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("TCB-Info-Issuer-Chain", long)
			_, _ = w.Write(i.now.TCBInfo)
		}, nil, ""},
		{"a chain with bad escapes", tcbInfo, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("TCB-Info-Issuer-Chain", "%zz")
			_, _ = w.Write(i.now.TCBInfo)
		}, collateral.ErrContent, "escape"},
		{"TCB info of another platform", tcbInfo, func(w http.ResponseWriter, r *http.Request) {
			other := tdxtest.NewCollateral(now)
			other.TCBInfo["fmspc"] = "ffffffffffff"
			signed, err := i.pki.Collateral(other)
			if err != nil {
				t.Error(err)
				return
			}
			(&intel{now: signed}).ServeHTTP(w, r)
		}, collateral.ErrContent, "ffffffffffff"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			timeout := patience
			if c.rule == "slow to begin" {
				timeout = 200 * time.Millisecond
			}
			d, err := newVendor(t, c.serve).getter(t, timeout).Get(t.Context(), c.req)
			if err == nil {
				t.Fatalf("a document came: %d bytes", len(d.Body))
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v and %q", err, c.want, c.says)
			}
		})
	}
	if asked := elsewhere.requests(); len(asked) != 0 {
		t.Errorf("the other host was asked: %v", asked)
	}
}

// endless is an answer that goes on until nobody waits for it any more.
type endless struct{ ctx context.Context }

func (e endless) Read([]byte) (int, error) { <-e.ctx.Done(); return 0, e.ctx.Err() }

func TestAnAnswerThatDoesNotEndIsGivenUp(t *testing.T) {
	g, err := collateral.NewHTTP(collateral.HTTPConfig{
		Addresses: collateral.VendorAddresses(), Timeout: 10 * time.Millisecond,
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(endless{r.Context()})}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Get(t.Context(), newIntel(t, now).requests(t)[3]); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "read the answer") {
		t.Errorf("error %v, want that the answer took too long to read", err)
	}
}

func TestARedirectWithinTheHostIsFollowed(t *testing.T) {
	i := newIntel(t, now)
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		if path, ok := strings.CutPrefix(r.URL.Path, "/new"); ok {
			r.URL.Path = path
			i.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, "/new"+r.URL.RequestURI(), http.StatusFound)
	})
	if _, err := v.getter(t, patience).Get(t.Context(), i.requests(t)[0]); err != nil {
		t.Error(err)
	}
}

func TestAServiceWithoutAddressIsNeverAsked(t *testing.T) {
	asked := false
	g, err := collateral.NewHTTP(collateral.HTTPConfig{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		asked = true
		return nil, errors.New("asked")
	})})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range newIntel(t, now).requests(t) {
		if _, err := g.Get(t.Context(), r); !errors.Is(err, collateral.ErrNotConfigured) {
			t.Errorf("%s: %v, want %v", r.File, err, collateral.ErrNotConfigured)
		}
	}
	if asked {
		t.Error("the network was asked although nothing is configured")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAddressesThatAreNotHTTPSAreRefused(t *testing.T) {
	for _, address := range []string{"", "http://kdsintf.amd.com", "https://", "ftp://x", "https://u:p@host", "https://host?x", "https://host#x", "://"} {
		if _, err := collateral.NewHTTP(collateral.HTTPConfig{Addresses: map[collateral.Service]string{collateral.AMDKDS: address}}); err == nil {
			t.Errorf("the address %q was taken", address)
		}
	}
	if _, err := collateral.NewHTTP(collateral.HTTPConfig{Addresses: map[collateral.Service]string{"azure": "https://x"}}); err == nil {
		t.Error("an unknown service was taken")
	}
	if _, err := collateral.NewHTTP(collateral.HTTPConfig{Timeout: -1}); err == nil {
		t.Error("a timeout below zero was taken")
	}
	if _, err := collateral.NewHTTP(collateral.HTTPConfig{Addresses: collateral.VendorAddresses()}); err != nil {
		t.Errorf("the vendors' own addresses: %v", err)
	}
}

func TestPauseGrowsAndEndsWithTheAttempts(t *testing.T) {
	var pauses []time.Duration
	fail := error(&collateral.StatusError{Status: http.StatusServiceUnavailable})
	calls := 0
	r := &collateral.Retry{
		Next: getterFunc(func(context.Context, collateral.Request) (*collateral.Document, error) {
			calls++
			return nil, fail
		}),
		Attempts: 5, First: time.Second, Most: 3 * time.Second, Jitter: func() float64 { return 0.5 },
		Sleep: func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil },
	}
	if _, err := r.Get(t.Context(), collateral.Request{}); !errors.Is(err, fail) || calls != 5 {
		t.Errorf("%d calls, error %v; want 5 and the failure", calls, err)
	}
	want := []time.Duration{750 * time.Millisecond, 1500 * time.Millisecond, 2250 * time.Millisecond, 2250 * time.Millisecond}
	for n, d := range want {
		if pauses[n] != d {
			t.Errorf("pauses %v, want %v", pauses, want)
			break
		}
	}
	fail = &collateral.StatusError{Status: 429, RetryAfter: 5 * time.Second}
	pauses = nil
	if _, err := r.Get(t.Context(), collateral.Request{}); !errors.Is(err, fail) || pauses[0] != 5*time.Second {
		t.Errorf("paused %v, the service asked for 5s", pauses[0])
	}
	for _, fail = range []error{collateral.ErrNotFound, collateral.ErrNotConfigured, collateral.ErrOffline, &collateral.StatusError{Status: 403}} {
		calls = 0
		if _, err := r.Get(t.Context(), collateral.Request{}); !errors.Is(err, fail) || calls != 1 {
			t.Errorf("%v: asked %d times, want once", fail, calls)
		}
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &collateral.Retry{First: time.Hour, Most: time.Hour, Next: getterFunc(func(context.Context, collateral.Request) (*collateral.Document, error) {
			time.AfterFunc(time.Minute, cancel) // in the middle of the pause
			return nil, errors.New("down")
		})}
		if _, err := r.Get(ctx, collateral.Request{}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
	})
}

func TestAServiceSaysHowLongToWait(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := v.getter(t, patience).Get(t.Context(), newIntel(t, now).requests(t)[0])
	var status *collateral.StatusError
	if !errors.As(err, &status) || status.RetryAfter != 7*time.Second {
		t.Errorf("error %v, want a status with 7s", err)
	}
}
