package collateral_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// kept is a cache before a vendor that can fail, with a clock that is set.
type kept struct {
	*collateral.Cache
	folder string
	intel  *intel
	clock  atomic.Pointer[time.Time]
	asked  atomic.Int64
	down   atomic.Bool
}

var errDown = errors.New("the service is down")

func newKept(t *testing.T, c collateral.CacheConfig) *kept {
	t.Helper()
	k := &kept{folder: t.TempDir(), intel: newIntel(t, now)}
	k.at(now)
	http := newVendor(t, k.intel.ServeHTTP).getter(t, patience)
	c.Folder, c.Clock = k.folder, func() time.Time { return *k.clock.Load() }
	c.Next = getterFunc(func(ctx context.Context, r collateral.Request) (*collateral.Document, error) {
		k.asked.Add(1)
		if k.down.Load() {
			return nil, errDown
		}
		return http.Get(ctx, r)
	})
	k.Cache = openCache(t, c)
	return k
}

func openCache(t *testing.T, c collateral.CacheConfig) *collateral.Cache {
	t.Helper()
	cache, err := collateral.NewCache(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	return cache
}

func (k *kept) at(at time.Time) { k.clock.Store(&at) }

// get gets the TCB info and returns how often the vendor was asked for it.
func (k *kept) get(t *testing.T) (*collateral.Document, int64, error) {
	t.Helper()
	before := k.asked.Load()
	d, err := k.Get(t.Context(), k.intel.requests(t)[0])
	return d, k.asked.Load() - before, err
}

func (k *kept) want(t *testing.T, rule string, asked int64, stale bool) {
	t.Helper()
	d, n, err := k.get(t)
	if err != nil {
		t.Fatalf("%s: %v", rule, err)
	}
	if n != asked || d.Stale != stale {
		t.Errorf("%s: asked %d times and stale=%t, want %d and %t", rule, n, d.Stale, asked, stale)
	}
}

const day = 24 * time.Hour

func TestADocumentServesUntilItEndsAndOverAnOutage(t *testing.T) {
	k := newKept(t, collateral.CacheConfig{AllowStale: 3 * day})
	k.want(t, "first", 1, false)
	k.want(t, "again", 0, false)
	k.at(now.Add(28 * day))
	k.want(t, "two days before its end", 0, false)

	k.down.Store(true)
	k.at(now.Add(29*day + time.Hour))
	k.want(t, "an outage shortly before its end", 1, false)
	k.want(t, "the service is left alone", 0, false)
	k.at(now.Add(31 * day))
	d, n, err := k.get(t)
	if err != nil || n != 1 || !d.Stale || !errors.Is(d.Problem, errDown) {
		t.Fatalf("a day after its end: asked %d, document %+v, error %v; want it stale, with the reason", n, d, err)
	}
	k.at(now.Add(34 * day))
	if _, _, err := k.get(t); !errors.Is(err, collateral.ErrStale) || !errors.Is(err, errDown) {
		t.Errorf("beyond what is allowed: %v, want %v and the reason", err, collateral.ErrStale)
	}

	k.down.Store(false)
	k.intel.now = publish(t, k.intel.pki, now.Add(34*day))
	k.at(now.Add(34*day + time.Hour))
	k.want(t, "the service is back", 1, false)
	k.want(t, "and its document kept", 0, false)
}

func TestWithoutAllowanceNothingStaleServes(t *testing.T) {
	k := newKept(t, collateral.CacheConfig{})
	k.want(t, "first", 1, false)
	k.down.Store(true)
	k.at(now.Add(30*day + 2*time.Hour))
	if _, _, err := k.get(t); !errors.Is(err, collateral.ErrStale) {
		t.Errorf("error %v, want %v", err, collateral.ErrStale)
	}
}

func TestOfflineTheFolderServesAndNothingElse(t *testing.T) {
	k := newKept(t, collateral.CacheConfig{})
	request := k.intel.requests(t)[0]
	clock := func() time.Time { return *k.clock.Load() }
	offline := openCache(t, collateral.CacheConfig{Folder: k.folder, Clock: clock, AllowStale: day})
	if _, err := offline.Get(t.Context(), request); !errors.Is(err, collateral.ErrOffline) {
		t.Errorf("an empty folder: %v, want %v", err, collateral.ErrOffline)
	}
	k.want(t, "online", 1, false)
	if d, err := offline.Get(t.Context(), request); err != nil || d.Stale || len(d.Chain) == 0 {
		t.Errorf("after a prefetch: %+v, %v; want the document and its chain", d, err)
	}
	k.at(now.Add(30*day + time.Hour))
	if d, err := offline.Get(t.Context(), request); err != nil || !d.Stale || !errors.Is(d.Problem, collateral.ErrOffline) {
		t.Errorf("after its end: %+v, %v; want it stale", d, err)
	}
}

func TestTheFolderIsWhatTheVerifierReads(t *testing.T) {
	k := newKept(t, collateral.CacheConfig{})
	outcomes, err := collateral.Prefetch(t.Context(), k, k.intel.requests(t))
	if err := errors.Join(err, collateral.Failed(outcomes)); err != nil {
		t.Fatal(err)
	}
	c, err := tdx.LoadCollateral(os.DirFS(filepath.Join(k.folder, filepath.Dir(outcomes[0].Request.File))))
	if err != nil {
		t.Fatal(err)
	}
	for name, part := range map[string][]byte{
		"tcb_info.json": c.TCBInfo, "qe_identity.json": c.QEIdentity, "pck.crl": c.PCKCRL, "root.crl": c.RootCRL,
		"tcb_info_chain.pem": c.TCBInfoChain, "qe_identity_chain.pem": c.QEIdentityChain, "pck_crl_chain.pem": c.PCKCRLChain,
	} {
		if len(part) == 0 {
			t.Errorf("%s is missing in the folder", name)
		}
	}
}

func TestADamagedFileIsFetchedAnew(t *testing.T) {
	k := newKept(t, collateral.CacheConfig{})
	k.want(t, "first", 1, false)
	path := filepath.Join(k.folder, filepath.FromSlash(k.intel.requests(t)[0].File))
	for rule, damage := range map[string]func() error{
		"cut":           func() error { return os.Truncate(path, 100) },
		"empty":         func() error { return os.Truncate(path, 0) },
		"huge":          func() error { return os.Truncate(path, 1<<30) },
		"removed":       func() error { return os.Remove(path) },
		"chain removed": func() error { return os.Remove(filepath.Join(filepath.Dir(path), "tcb_info_chain.pem")) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		k.want(t, rule, 1, false)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	k.down.Store(true)
	if _, _, err := k.get(t); !errors.Is(err, errDown) || !errors.Is(err, collateral.ErrContent) {
		t.Errorf("damaged and down: %v, want both reasons", err)
	}
}

func TestAnOlderOrEndedDocumentReplacesNothing(t *testing.T) {
	k := newKept(t, collateral.CacheConfig{})
	k.want(t, "first", 1, false)
	newest, _, _ := k.get(t)
	k.intel.now = publish(t, k.intel.pki, now.Add(-5*day))
	k.at(now.Add(29*day + time.Hour))
	k.want(t, "an older one is offered", 1, false)
	if d, _, _ := k.get(t); !d.Expires.Equal(newest.Expires) {
		t.Errorf("the document ends at %s, want that of the newest, %s", d.Expires, newest.Expires)
	}
	k.at(now.Add(40 * day))
	if _, _, err := k.get(t); !errors.Is(err, collateral.ErrStale) || !errors.Is(err, collateral.ErrContent) {
		t.Errorf("only an ended one is offered: %v, want it refused", err)
	}
}

func TestManyCallersFetchOnce(t *testing.T) {
	k := newKept(t, collateral.CacheConfig{})
	request := k.intel.requests(t)[0]
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := k.Get(t.Context(), request); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := k.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestAWaitingCallerLeavesWithItsContext(t *testing.T) {
	intel := newIntel(t, now)
	began, end := make(chan struct{}), make(chan struct{})
	cache := openCache(t, collateral.CacheConfig{Folder: t.TempDir(), Next: getterFunc(func(context.Context, collateral.Request) (*collateral.Document, error) {
		close(began)
		<-end
		return nil, errDown
	})})
	first := make(chan error, 1)
	go func() {
		_, err := cache.Get(context.WithoutCancel(t.Context()), intel.requests(t)[0])
		first <- err
	}()
	<-began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cache.Get(ctx, intel.requests(t)[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	close(end)
	if err := <-first; !errors.Is(err, errDown) {
		t.Error(err)
	}
}

func TestNoRequestLeavesTheFolder(t *testing.T) {
	k := newKept(t, collateral.CacheConfig{})
	for _, file := range []string{"../x", "/etc/passwd", "a/../../x", ""} {
		if _, err := k.Get(t.Context(), collateral.Request{Kind: collateral.IntelRootCRL, Service: collateral.IntelRoots, Path: "/IntelSGXRootCA.der", File: file}); err == nil {
			t.Errorf("the place %q was taken", file)
		}
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(k.folder, "intel")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.get(t); err == nil {
		t.Error("a link that leads out of the folder was followed")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("files outside of the folder: %v %v", left, err)
	}
}

func TestCacheConfigsThatMakeNoSenseAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for rule, c := range map[string]collateral.CacheConfig{
		"no folder":           {},
		"a file as folder":    {Folder: file},
		"stale below zero":    {Folder: t.TempDir(), AllowStale: -1},
		"refresh below zero":  {Folder: t.TempDir(), RefreshBefore: -1},
		"quietude below zero": {Folder: t.TempDir(), Quiet: -1},
	} {
		if _, err := collateral.NewCache(c); err == nil {
			t.Errorf("%s: a cache was made", rule)
		}
	}
}

func TestAPrefetchGoesOnAfterAFailure(t *testing.T) {
	i := newIntel(t, now)
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tdx/certification/v4/qe/identity" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		i.ServeHTTP(w, r)
	})
	requests := i.requests(t)
	outcomes, err := collateral.Prefetch(t.Context(), v.getter(t, patience), append(requests, requests...))
	if err != nil || len(outcomes) != len(requests) {
		t.Fatalf("%d outcomes, %v; want one for each document", len(outcomes), err)
	}
	for _, o := range outcomes {
		if failed := o.Request.Kind == collateral.IntelQEIdentity; failed != (o.Err != nil) {
			t.Errorf("%s: %v", o.Request.File, o.Err)
		}
	}
	if err := collateral.Failed(outcomes); !errors.Is(err, collateral.ErrNotFound) {
		t.Errorf("error %v, want %v", err, collateral.ErrNotFound)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := collateral.Prefetch(ctx, v.getter(t, patience), requests); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}
