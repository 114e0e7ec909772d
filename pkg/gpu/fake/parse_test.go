package fake

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	tests := map[string]string{
		"an empty file":               "",
		"no version":                  "preset: none\n",
		"another version":             "version: 2\npreset: none\n",
		"an unknown key":              "version: 1\npreset: none\ngpu: 8\n",
		"a duplicate key":             "version: 1\npreset: none\npreset: none\n",
		"an unknown preset":           "version: 1\npreset: 9xH200\n",
		"an unknown model":            "version: 1\nmodel: H900\ngpus: 1\nmode: on\n",
		"cards without a mode":        "version: 1\nmodel: H100\ngpus: 1\n",
		"an unknown mode":             "version: 1\nmodel: H100\ngpus: 1\nmode: sideways\n",
		"too many cards":              "version: 1\nmodel: H100\ngpus: 17\nmode: on\n",
		"negative cards":              "version: 1\nmodel: H100\ngpus: -1\nmode: on\n",
		"too many switches":           "version: 1\npreset: 8xH200\nswitches: 5\n",
		"a card that isn't there":     "version: 1\npreset: 1xH100\ncards: [{index: 1}]\n",
		"a card described twice":      "version: 1\npreset: 1xH100\ncards: [{index: 0}, {index: 0}]\n",
		"a card without index":        "version: 1\npreset: 1xH100\ncards: [{mig: true}]\n",
		"a card with an unknown mode": "version: 1\npreset: 1xH100\ncards: [{index: 0, mode: up}]\n",
		"a duration without unit":     "version: 1\npreset: none\nmode_switch: {duration: 5}\n",
		"a duration of days":          "version: 1\npreset: none\nmode_switch: {duration: 48h}\n",
		"an alias":                    "version: 1\npreset: &a none\nname: *a\n",
		"two documents":               "version: 1\n---\nversion: 1\n",
		"more than the largest size":  "version: 1\nname: " + strings.Repeat("x", MaxFile),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if h, err := Parse([]byte(text)); !errors.Is(err, ErrHost) {
				t.Errorf("parsed to %+v, %v; want ErrHost", h, err)
			}
		})
	}
}

func TestParseNamesTheLineOfAnUnknownKey(t *testing.T) {
	_, err := Parse([]byte("version: 1\npreset: none\ngpuz: 8\n"))
	if err == nil || !strings.Contains(err.Error(), "gpuz") || !strings.Contains(err.Error(), "3") {
		t.Errorf("error %v names neither key nor line", err)
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	if _, err := Open("/does/not/exist.yaml"); err == nil || !strings.Contains(err.Error(), "/does/not/exist.yaml") {
		t.Errorf("error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("version: 1\npreset: 8xH200\nmode_switch: {duration: 2s, fail: x, leave_mixed: true}\n"))
	f.Add([]byte("version: 1\nmodel: B200\ngpus: 4\nmode: on\ncards:\n  - {index: 3, sick: \"Xid 79\"}\n"))
	f.Add([]byte("version: 1\npreset: &a none\nname: *a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := Parse(text)
		if err != nil {
			return
		}
		i, err := New(h)
		if err != nil {
			t.Fatalf("parsed, but not a host: %v", err)
		}
		s, err := i.Snapshot(t.Context())
		if err != nil || len(s.GPUs) > h.GPUs {
			t.Fatalf("%d cards of %d, %v", len(s.GPUs), h.GPUs, err)
		}
	})
}
