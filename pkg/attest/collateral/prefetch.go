package collateral

import (
	"context"
	"errors"
	"fmt"
)

// Outcome is what came of one request of a prefetch.
type Outcome struct {
	Request  Request
	Document *Document
	// Err says why there is no document.
	Err error
}

// maxPrefetch bounds a prefetch: a host of 8 GPUs and 4 switches needs about 50.
const maxPrefetch = 512

// Prefetch gets every document that is listed, and the OCSP responses for the
// certificates in the RIMs among them. It goes on after a failure, and stops only
// when ctx ends.
func Prefetch(ctx context.Context, g Getter, requests []Request) ([]Outcome, error) {
	var out []Outcome
	seen := map[string]bool{}
	for len(requests) > 0 {
		r := requests[0]
		requests = requests[1:]
		if seen[r.File] {
			continue
		}
		if seen[r.File] = true; len(seen) > maxPrefetch {
			return out, fmt.Errorf("more than %d documents are needed", maxPrefetch)
		}
		if err := ctx.Err(); err != nil {
			return out, err
		}
		d, err := g.Get(ctx, r)
		if err == nil && r.Kind == NVIDIARIM {
			more, rimErr := ForRIM(d.Body)
			requests, err = append(requests, more...), rimErr
		}
		out = append(out, Outcome{r, d, err})
	}
	return out, nil
}

// Failed joins the errors of the outcomes; nil if all documents came.
func Failed(outcomes []Outcome) error {
	var errs []error
	for _, o := range outcomes {
		errs = append(errs, o.Err)
	}
	return errors.Join(errs...)
}
