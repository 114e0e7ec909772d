package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

type thing struct {
	Name  string            `json:"name"`
	Count int64             `json:"count,omitempty"`
	Tags  map[string]string `json:"tags,omitempty"`
}

// things has had two versions before: v1 said "title" for the name, v2 counted
// from one.
var things = record.New[thing]("thing", renameTitle, countFromZero)

func renameTitle(data []byte) ([]byte, error) {
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	title, ok := v["title"]
	if !ok {
		return nil, errors.New("no title")
	}
	delete(v, "title")
	v["name"] = title
	return json.Marshal(v)
}

func countFromZero(data []byte) ([]byte, error) {
	var v thing
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	v.Count--
	return json.Marshal(v)
}

func TestFormIsStable(t *testing.T) {
	got, err := things.Encode(thing{Name: "a", Count: 2})
	if want := `{"kind":"thing","v":3,"data":{"name":"a","count":2}}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if things.Kind() != "thing" || things.Version() != 3 {
		t.Errorf("kind %q version %d", things.Kind(), things.Version())
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := thing{
			Name:  rapid.String().Draw(t, "name"),
			Count: rapid.Int64().Draw(t, "count"),
			Tags:  rapid.MapOfN(rapid.String(), rapid.String(), 1, 4).Draw(t, "tags"),
		}
		first, err := things.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := things.Decode(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := things.Encode(got)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%s became %s, %v", first, second, err)
		}
	})
}

func TestOldVersionsAreUpgraded(t *testing.T) {
	for in, want := range map[string]thing{
		`{"kind":"thing","v":1,"data":{"title":"a","count":2}}`: {Name: "a", Count: 1},
		`{"kind":"thing","v":2,"data":{"name":"a","count":2}}`:  {Name: "a", Count: 1},
		`{"kind":"thing","v":3,"data":{"name":"a","count":2}}`:  {Name: "a", Count: 2},
	} {
		got, err := things.Decode([]byte(in))
		if err != nil || got.Name != want.Name || got.Count != want.Count {
			t.Errorf("%s: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestNewerVersionIsRefusedWithAdvice(t *testing.T) {
	_, err := things.Decode([]byte(`{"kind":"thing","v":4,"data":{"name":"a","later":true}}`))
	var version *record.VersionError
	if !errors.As(err, &version) || *version != (record.VersionError{Kind: "thing", Version: 4, Known: 3}) {
		t.Fatalf("error = %v, want a VersionError", err)
	}
	if !strings.Contains(err.Error(), "run the newer program") {
		t.Errorf("%q does not say what to do", err)
	}
}

func TestMalformedIsRefused(t *testing.T) {
	for name, in := range map[string]string{
		"empty":               ``,
		"not json":            `thing`,
		"another kind":        `{"kind":"update","v":3,"data":{"name":"a"}}`,
		"no kind":             `{"v":3,"data":{"name":"a"}}`,
		"no version":          `{"kind":"thing","data":{"name":"a"}}`,
		"negative version":    `{"kind":"thing","v":-1,"data":{"name":"a"}}`,
		"fractional version":  `{"kind":"thing","v":1.5,"data":{"name":"a"}}`,
		"no data":             `{"kind":"thing","v":3}`,
		"unknown outer field": `{"kind":"thing","v":3,"data":{"name":"a"},"x":1}`,
		"unknown field":       `{"kind":"thing","v":3,"data":{"name":"a","x":1}}`,
		"wrong type":          `{"kind":"thing","v":3,"data":{"name":1}}`,
		"cut short":           `{"kind":"thing","v":3,"data":{"name":"a"}`,
		"a rest":              `{"kind":"thing","v":3,"data":{"name":"a"}} {}`,
		"an upgrade fails":    `{"kind":"thing","v":1,"data":{"name":"a"}}`,
		"too large":           `{"kind":"thing","v":3,"data":{"name":"` + strings.Repeat("a", record.MaxBytes) + `"}}`,
	} {
		if _, err := things.Decode([]byte(in)); !errors.Is(err, record.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

// TestBothWaysOfReadingAgree: what looks as Encode writes it is read in one pass.
// A space before it makes no difference but to that.
func TestBothWaysOfReadingAgree(t *testing.T) {
	for _, in := range []string{
		`{"kind":"thing","v":3,"data":{"name":"a","count":2}}`,
		`{"kind":"thing","v":3,"data":{"name":"a"} }`,
		`{"kind":"thing","v":3,"data":null}`,
		`{"kind":"thing","v":3,"data":}`,
		`{"kind":"thing","v":3,"data":{"name":"a"},"v":3}`,
		`{"kind":"thing","v":3,"data":{"name":"a"},"data":{"count":1}}`,
		`{"kind":"thing","v":3,"data":{"name":"a","x":1}}`,
		`{"kind":"thing","v":3,"data":{"name":"a"}}}`,
		`{"kind":"thing","v":3,"data":{"name":"a"}`,
		`{"kind":"thing","v":3,"data":{"name":1}}`,
		`{"kind":"thing","v":3,"data":[]}`,
	} {
		one, oneErr := things.Decode([]byte(in))
		two, twoErr := things.Decode([]byte(" " + in))
		if (oneErr == nil) != (twoErr == nil) || one.Name != two.Name || one.Count != two.Count {
			t.Errorf("%s: %+v, %v in one pass, %+v, %v in two", in, one, oneErr, two, twoErr)
		}
	}
}

func TestTooLargeIsNotWritten(t *testing.T) {
	if _, err := things.Encode(thing{Name: strings.Repeat("a", record.MaxBytes)}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("error = %v, want ErrTooLarge", err)
	}
}

func TestUnencodableIsAnError(t *testing.T) {
	if _, err := record.New[chan int]("channel").Encode(make(chan int)); err == nil {
		t.Error("a channel was encoded")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"kind":"thing","v":3,"data":{"name":"a","count":2,"tags":{"b":"c"}}}`))
	f.Add([]byte(`{"kind":"thing","v":1,"data":{"title":"a"}}`))
	f.Add([]byte(`{"kind":"thing","v":9,"data":null}`))
	f.Add([]byte(`{"kind":"thing","v":3,"data":{"name":"a"}}x`))
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := things.Decode(in)
		if err != nil {
			var version *record.VersionError
			if !errors.Is(err, record.ErrMalformed) && !errors.As(err, &version) {
				t.Fatalf("an error without a type: %v", err)
			}
			return
		}
		out, err := things.Encode(v)
		if errors.Is(err, store.ErrTooLarge) {
			return // Escaping can lengthen what was within the limit.
		}
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		again, err := things.Decode(out)
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		if second, err := things.Encode(again); err != nil || !bytes.Equal(out, second) {
			t.Fatalf("%s became %s, %v", out, second, err)
		}
	})
}
