package follow

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/casemate-dev/casemate/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// item is a message: its token, or an error that ends the stream.
type item struct {
	token string
	err   error
}

// tape is a stream that plays items.
type tape struct {
	grpc.ClientStream
	items []item
}

func (s *tape) Recv() (*item, error) {
	if len(s.items) == 0 {
		return nil, io.EOF
	}
	next := s.items[0]
	s.items = s.items[1:]
	if next.err != nil {
		return nil, next.err
	}
	return &next, nil
}

// play runs a watch over streams, the last of which is opened for ever, and
// returns the tokens with which they were opened and the messages.
func play(ctx context.Context, streams [][]item, until string) (opened, heard []string, fresh int, err error) {
	err = Run(ctx, DefaultLimits, Watch[item]{
		Open: func(_ context.Context, token string) (grpc.ServerStreamingClient[item], error) {
			opened = append(opened, token)
			next := streams[0]
			if len(streams) > 1 {
				streams = streams[1:]
			}
			if len(next) > 0 && next[0].token == "refuse" {
				return nil, next[0].err
			}
			return &tape{items: next}, nil
		},
		Token: func(m *item) string { return m.token },
		Take: func(m *item) (bool, error) {
			heard = append(heard, m.token)
			if m.token == "bad" {
				return false, errors.New("can't take it")
			}
			return m.token == until, nil
		},
		Fresh: func() { fresh++ },
	})
	return opened, heard, fresh, err
}

func TestAWatchGoesOnWhereItBroke(t *testing.T) {
	gone := rpc.Error(codes.OutOfRange, "RESUME_TOKEN_EXPIRED", "gone")
	away := status.Error(codes.Unavailable, "away")
	tests := map[string]struct {
		streams       [][]item
		opened, heard []string
		fresh         int
		failure       string
	}{
		"to its end":                            {[][]item{{{token: "a"}, {token: "end"}}}, []string{""}, []string{"a", "end"}, 1, ""},
		"after the end of a stream":             {[][]item{{{token: "a"}}, {{token: "end"}}}, []string{"", "a"}, []string{"a", "end"}, 1, ""},
		"after an outage":                       {[][]item{{{token: "a"}, {err: away}}, {{token: "refuse", err: away}}, {{token: "end"}}}, []string{"", "a", "a"}, []string{"a", "end"}, 1, ""},
		"after the last message with a token":   {[][]item{{{token: "a"}, {}, {err: away}}, {{token: "end"}}}, []string{"", "a"}, []string{"a", "", "end"}, 1, ""},
		"anew when history is gone":             {[][]item{{{token: "a"}}, {{err: gone}}, {{token: "end"}}}, []string{"", "a", ""}, []string{"a", "end"}, 2, ""},
		"not when it is refused":                {[][]item{{{err: rpc.Error(codes.NotFound, "NO_SUCH_CONTAINER", "there is none")}}}, []string{""}, nil, 1, "there is none"},
		"not when history is gone from the off": {[][]item{{{err: gone}}}, []string{""}, nil, 1, "gone"},
		"not when a message can't be taken":     {[][]item{{{token: "bad"}}}, []string{""}, []string{"bad"}, 1, "can't take it"},
		"not after a fault that has a reason":   {[][]item{{{err: rpc.Error(codes.Internal, "INTERNAL", "a fault")}}}, []string{""}, nil, 1, "a fault"},
		"after a fault of the transport":        {[][]item{{{err: status.Error(codes.Internal, "RST_STREAM")}}, {{token: "end"}}}, []string{"", ""}, []string{"end"}, 2, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opened, heard, fresh, err := play(t.Context(), tt.streams, "end")
				if d := cmp.Diff(tt.opened, opened); d != "" {
					t.Errorf("opened with (-want +got):\n%s", d)
				}
				if d := cmp.Diff(tt.heard, heard); d != "" {
					t.Errorf("heard (-want +got):\n%s", d)
				}
				if fresh != tt.fresh {
					t.Errorf("began with a snapshot %d times, want %d", fresh, tt.fresh)
				}
				if tt.failure == "" && err != nil || tt.failure != "" && (err == nil || !strings.Contains(err.Error(), tt.failure)) {
					t.Errorf("error %v, want %q", err, tt.failure)
				}
			})
		})
	}
}

func TestSilenceIsGivenUpAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		opened, _, _, err := play(t.Context(), [][]item{{{err: status.Error(codes.Unavailable, "away")}}}, "end")
		var lost *LostError
		if !errors.As(err, &lost) || rpc.Code(err) != codes.Unavailable || !strings.Contains(lost.Error(), "away") {
			t.Errorf("error %v, want a LostError that says why", err)
		}
		took := time.Since(begin)
		if took < DefaultLimits.GiveUp || took > DefaultLimits.GiveUp+DefaultLimits.Longest {
			t.Errorf("gave up after %s, want %s", took, DefaultLimits.GiveUp)
		}
		if n := len(opened); n < 20 || n > 40 {
			t.Errorf("%d attempts in %s: the wait should double up to %s", n, took, DefaultLimits.Longest)
		}
	})
}

func TestAWatchThatIsHeardIsNeverGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var streams [][]item
		for range 10000 {
			streams = append(streams, []item{{token: "a"}})
		}
		streams = append(streams, []item{{token: "end"}})
		begin := time.Now()
		if _, _, _, err := play(t.Context(), streams, "end"); err != nil {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		if time.Since(begin) < DefaultLimits.GiveUp {
			t.Error("the test proves nothing: it was over before GiveUp")
		}
	})
}

func TestTheContextEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, _, err := play(ctx, [][]item{{{err: status.Error(codes.Unavailable, "away")}}}, "end"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	})
}
