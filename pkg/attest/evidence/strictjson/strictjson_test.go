package strictjson

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

type sample struct {
	text  string
	n     int
	flag  bool
	hex   [2]byte
	blob  []byte
	names []string
}

func (s *sample) fields() Fields {
	return Fields{
		"text": String(&s.text, 8), "n": Integer(&s.n, 100), "flag": Bool(&s.flag), "hex": Hex(s.hex[:]),
		"blob":  Base64(&s.blob, 4),
		"names": List(&s.names, 2, func(dst *string) func(json.RawMessage) error { return String(dst, 4) }),
	}
}

func TestObjectReadsWhatIsCanonical(t *testing.T) {
	var s sample
	raw := ` {"text":"a\u00e9","n":7,"flag":true,"hex":"0aff","blob":"AQI=","names":["x","y"]} `
	if err := Object([]byte(raw), 200, s.fields(), "text"); err != nil {
		t.Fatal(err)
	}
	if s.text != "aé" || s.n != 7 || !s.flag || s.hex != [2]byte{0x0a, 0xff} || len(s.blob) != 2 || !slices.Equal(s.names, []string{"x", "y"}) {
		t.Errorf("read %+v", s)
	}
}

func TestObjectRefuses(t *testing.T) {
	for rule, c := range map[string]struct{ raw, want string }{
		"an unknown member":          {`{"text":"a","x":1}`, "unknown member"},
		"a member in other case":     {`{"Text":"a"}`, "unknown member"},
		"one member twice":           {`{"text":"a","text":"a"}`, "given twice"},
		"twice by way of an escape":  {`{"text":"a","te\u0078t":"a"}`, "given twice"},
		"a missing member":           {`{"n":1}`, `"text" is missing`},
		"null for a string":          {`{"text":null}`, "must be a string"},
		"a long string":              {`{"text":"123456789"}`, "at most 8"},
		"null for a number":          {`{"n":null}`, "whole number"},
		"a negative number":          {`{"n":-1}`, "whole number"},
		"a fraction":                 {`{"n":1.5}`, "whole number"},
		"an exponent":                {`{"n":1e1}`, "whole number"},
		"a number beyond its bound":  {`{"n":101}`, "up to 100"},
		"null for a truth":           {`{"flag":null}`, "true or false"},
		"hex in upper case":          {`{"hex":"0AFF"}`, "lower-case"},
		"null for hex":               {`{"hex":null}`, "must be a string"},
		"base64 in the URL alphabet": {`{"blob":"__8="}`, "canonical"},
		"base64 that is too long":    {`{"blob":"AAAAAAAA"}`, "at most 4"},
		"null for a list":            {`{"names":null}`, "expected a list"},
		"a list that is too long":    {`{"names":["a","b","c"]}`, "more than 2"},
		"an entry of another kind":   {`{"names":[1]}`, "entry 0: must be a string"},
		"a comment":                  {`{/**/}`, "invalid character"},
		"a comma at the end":         {`{"text":"a",}`, "invalid character"},
		"a second object":            {`{"text":"a"}{}`, "something follows"},
		"a bare value":               {`"text"`, "expected an object"},
		"nothing":                    {``, "expected an object"},
		"half an object":             {`{"text":"a"`, "does not end"},
		"too many bytes":             {strings.Repeat(" ", 300), "at most 200"},
		"bytes that are not UTF-8":   {"{\"text\":\"\xff\"}", "not UTF-8"},
	} {
		var s sample
		err := Object([]byte(c.raw), 200, s.fields(), "text")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected it to say %q", rule, err, c.want)
		}
	}
}

func TestMapBoundsItsMembers(t *testing.T) {
	read := func(raw string) error {
		return Map([]byte(raw), 100, 2, func(string, json.RawMessage) error { return nil })
	}
	if err := read(`{"a":1,"b":2}`); err != nil {
		t.Error(err)
	}
	for raw, want := range map[string]string{`{"a":1,"b":2,"c":3}`: "more than 2", `{"a":1,"a":2}`: "given twice", `[]`: "object"} {
		if err := read(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected it to say %q", raw, err, want)
		}
	}
}

func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"text":"a","n":7,"names":["x"]}`))
	f.Add([]byte(`{"text":"a","text":"b"}`))
	f.Add([]byte(`{"\u0074ext":"a"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s sample
		if Object(raw, 1<<10, s.fields()) == nil && !json.Valid(raw) {
			t.Errorf("%q was read, and is no JSON", raw)
		}
	})
}
