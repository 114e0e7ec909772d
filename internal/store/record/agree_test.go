package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casemate-dev/casemate/internal/store/record"
)

// varied has a field of every sort that records have.
type varied struct {
	Text    string            `json:"text"`
	Maybe   string            `json:"maybe,omitempty"`
	Flag    bool              `json:"flag,omitempty"`
	Signed  int64             `json:"signed,omitempty"`
	Big     uint64            `json:"big"`
	Bytes   []byte            `json:"bytes"`
	Spare   []byte            `json:"spare,omitempty"`
	List    []string          `json:"list"`
	Numbers []int             `json:"numbers,omitempty"`
	Map     map[string]string `json:"map"`
	Counts  map[string]int64  `json:"counts,omitempty"`
	At      time.Time         `json:"at"`
	Until   time.Time         `json:"until,omitzero"`
	Took    time.Duration     `json:"took"`
	Takes   []time.Duration   `json:"takes,omitempty"`
	Inner   inner             `json:"inner"`
	Other   *inner            `json:"other,omitempty"`
	Many    []inner           `json:"many,omitempty"`
}

type inner struct {
	Name string `json:"name"`
	N    int    `json:"n,omitempty"`
}

var varieds = record.New[varied]("varied")

var times = rapid.Custom(func(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "zero") {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
})

// texts have what is escaped, too.
var texts = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"<b>&\u2028", "\x00\x1f\x7f", `"\/`, "\ud7ff\ue000\ufffd"}))

var inners = rapid.Custom(func(t *rapid.T) inner {
	return inner{texts.Draw(t, "name"), rapid.Int().Draw(t, "n")}
})

func drawVaried(t *rapid.T) varied {
	v := varied{
		Text: texts.Draw(t, "text"), Maybe: texts.Draw(t, "maybe"), Flag: rapid.Bool().Draw(t, "flag"),
		Signed: rapid.Int64().Draw(t, "signed"), Big: rapid.Uint64().Draw(t, "big"),
		At: times.Draw(t, "at"), Until: times.Draw(t, "until"), Took: time.Duration(rapid.Int64().Draw(t, "took")),
		Inner: inners.Draw(t, "inner"),
	}
	if rapid.Bool().Draw(t, "full") {
		v.Bytes, v.Spare = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"), rapid.SliceOf(rapid.Byte()).Draw(t, "spare")
		v.List, v.Numbers = rapid.SliceOf(texts).Draw(t, "list"), rapid.SliceOf(rapid.Int()).Draw(t, "numbers")
		v.Map = rapid.MapOf(texts, texts).Draw(t, "map")
		v.Counts = rapid.MapOf(rapid.String(), rapid.Int64()).Draw(t, "counts")
		v.Takes = []time.Duration{time.Duration(rapid.Int64().Draw(t, "takes"))}
		v.Many = rapid.SliceOf(inners).Draw(t, "many")
		other := inners.Draw(t, "other")
		v.Other = &other
	}
	return v
}

// TestBytesAreThoseOfEncodingJSON: records that older programs wrote, and those that
// older programs read, look the same. (What is no UTF-8 becomes U+FFFD in both, which
// encoding/json alone writes as an escape.)
func TestBytesAreThoseOfEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawVaried(t)
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"kind":"varied","v":1,"data":` + string(data) + `}`
		if got, err := varieds.Encode(v); err != nil || string(got) != want {
			t.Errorf("got %s, %v; encoding/json writes %s", got, err, want)
		}
	})
}

// strictly reads as encoding/json does if it takes no unknown fields and no rest.
func strictly(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the end")
	}
	return nil
}

// FuzzReadsWhatEncodingJSONReads: what is taken, and for what, is the same.
func FuzzReadsWhatEncodingJSONReads(f *testing.F) {
	for _, in := range []string{
		`{"text":"a","big":1,"bytes":"YQ==","list":["b"],"map":{"c":"d"},"at":"2026-03-04T05:06:07.8Z","took":9}`,
		`{"TEXT":"a","text":"b","inner":{"name":"c"},"inner":{"n":1}}`,
		`{"many":[{"name":"a"},null],"other":null,"list":null,"until":null}`,
		`{"text":"\ud800","big":1e2}`,
		"{\"text\":\"\xff\"}",
		`{"counts":{"a":1,"a":2},"numbers":[1,2,]}`,
		`{"at":"2026-03-04 05:06:07"}`,
		`null`, `{}`, `[]`, `{"unknown":1}`, `{} {}`,
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want varied
		wantErr := strictly(data, &want)
		got, err := varieds.Decode(append(append([]byte(`{"kind":"varied","v":1,"data":`), data...), '}'))
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v; encoding/json says: %v", data, err, wantErr)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v; encoding/json reads %+v", data, got, want)
		}
	})
}
