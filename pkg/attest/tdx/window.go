package tdx

import (
	"crypto/x509"
	"fmt"
	"time"
)

// window is the time in which something may be relied on, both ends included.
type window struct {
	from, until time.Time
}

func certificateWindow(cert *x509.Certificate) window {
	return window{cert.NotBefore, cert.NotAfter}
}

// check says whether a time lies in the window, with a grace after its end.
func (w window) check(what string, at time.Time, grace time.Duration) error {
	if at.Before(w.from) {
		return fmt.Errorf("%s is not valid before %s", what, w.from.UTC().Format(time.RFC3339))
	}
	if at.After(w.until.Add(grace)) {
		return fmt.Errorf("%s ended at %s", what, w.until.UTC().Format(time.RFC3339))
	}
	return nil
}

// narrow returns the time that lies in both windows.
func (w window) narrow(o window) window {
	if o.from.After(w.from) {
		w.from = o.from
	}
	if o.until.Before(w.until) {
		w.until = o.until
	}
	return w
}
