package cli

import (
	"errors"
	"strings"
	"testing"
)

func TestASecretComesFromStdinFileOrPrompt(t *testing.T) {
	tests := map[string]struct {
		args []string
		set  func(*world)
		want string
	}{
		"stdin, without the last line end":     {[]string{"secret", "set", "API_KEY"}, func(w *world) { w.env.In = strings.NewReader("a\nb\r\n") }, "a\nb"},
		"stdin asked for on a terminal":        {[]string{"secret", "set", "API_KEY", "--value-file", "-"}, func(w *world) { w.answers("typed\n") }, "typed"},
		"a file":                               {[]string{"secret", "create", "API_KEY", "--value-file", "testdata/value.txt"}, nil, "hunter2"},
		"a question on a terminal":             {[]string{"secret", "create", "API_KEY"}, prompt("s3cret", nil), "s3cret"},
		"nothing is an error":                  {[]string{"secret", "create", "API_KEY"}, nil, ""},
		"too much is an error":                 {[]string{"secret", "create", "API_KEY"}, func(w *world) { w.env.In = strings.NewReader(strings.Repeat("x", maxSecret+1)) }, ""},
		"the longest value":                    {[]string{"secret", "create", "API_KEY"}, func(w *world) { w.env.In = strings.NewReader(strings.Repeat("x", maxSecret) + "\r\n") }, strings.Repeat("x", maxSecret)},
		"a question that fails is an error":    {[]string{"secret", "create", "API_KEY"}, prompt("", errors.New("gone")), ""},
		"a file that isn't there is an error":  {[]string{"secret", "create", "API_KEY", "--value-file", "testdata/none"}, nil, ""},
		"a value as an argument is an error":   {[]string{"secret", "create", "API_KEY", "value"}, nil, ""},
		"a wrong number of names is an error":  {[]string{"secret", "create"}, nil, ""},
		"the value is never printed as a text": {[]string{"secret", "set", "API_KEY", "-o", "json"}, func(w *world) { w.env.In = strings.NewReader("topsecret") }, "topsecret"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, newFleet())
			if tt.set != nil {
				tt.set(w)
			}
			code := w.run(t, tt.args...)
			if got := w.fleet.values["API_KEY"]; got != tt.want || (code == ExitOK) != (tt.want != "") {
				t.Errorf("kept %.20q with exit code %d, want %.20q: %s", got, code, tt.want, &w.err)
			}
			if tt.want != "" && strings.Contains(w.out.String()+w.err.String(), tt.want) {
				t.Errorf("the value was printed: %s%s", &w.out, &w.err)
			}
		})
	}
}

func prompt(value string, err error) func(*world) {
	return func(w *world) {
		w.answers("")
		w.env.ReadPassword = func() ([]byte, error) { return []byte(value), err }
	}
}
