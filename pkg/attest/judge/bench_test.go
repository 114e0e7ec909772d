package judge_test

import (
	"context"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
)

// BenchmarkEnclave judges enclaves of a platform that was seen before.
func BenchmarkEnclave(b *testing.B) {
	for name, c := range map[string]struct {
		format attest.Format
		gpus   int
	}{
		"sev-snp": {attest.FormatSEVSNP, 0}, "sev-snp, one GPU": {attest.FormatSEVSNP, 1}, "tdx": {attest.FormatTDX, 0},
	} {
		b.Run(name, func(b *testing.B) {
			l := newLab(b, c.format, c.gpus)
			raw, err := l.show().Encode()
			if err != nil {
				b.Fatal(err)
			}
			j, err := judge.New(l.config)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if v := j.Verify(context.Background(), raw, l.expect); !v.Accepted {
					b.Fatal(v.Err())
				}
			}
		})
	}
}
