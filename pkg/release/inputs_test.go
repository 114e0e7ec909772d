package release

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDeclaredNames(t *testing.T) {
	c, _ := mustParse(t, fixture(t, "full.yml"))
	for _, tc := range []struct {
		what      string
		got, want []string
	}{
		{"variables", c.Variables(), []string{"DOMAIN"}},
		{"secrets", c.Secrets(), []string{"API_KEY", "PULL_TOKEN", "STATE_KEY"}},
		{"images", c.Images(), []string{
			"docker.io/acme/sidecar@sha256:" + hex64("4"), "ghcr.io/acme/app:v1@sha256:" + hex64("3"),
		}},
	} {
		if !slices.Equal(tc.got, tc.want) {
			t.Errorf("%s are %v, want %v", tc.what, tc.got, tc.want)
		}
	}
}

func TestInputsMustBeDeclared(t *testing.T) {
	c, _ := mustParse(t, fixture(t, "full.yml"))
	all := []string{"API_KEY", "PULL_TOKEN", "STATE_KEY"}
	for _, tc := range []struct {
		rule    string
		vars    map[string]string
		secrets []string
		want    InputError
		text    string
	}{
		{rule: "an undeclared variable", vars: map[string]string{"DOMIAN": "x"}, secrets: all,
			want: InputError{Undeclared: []string{"DOMIAN"}}, text: "declared: DOMAIN"},
		{rule: "a measured variable", vars: map[string]string{"LOG_LEVEL": "debug"}, secrets: all,
			want: InputError{Measured: []string{"LOG_LEVEL"}}, text: "only a new tag"},
		{rule: "a value with a NUL byte", vars: map[string]string{"DOMAIN": "a\x00b"}, secrets: all,
			want: InputError{Unusable: []string{"DOMAIN"}}, text: "NUL byte"},
		{rule: "a value too long", vars: map[string]string{"DOMAIN": strings.Repeat("x", maxVariable+1)}, secrets: all,
			want: InputError{Unusable: []string{"DOMAIN"}}, text: "131072 bytes"},
		{rule: "an undeclared secret", vars: map[string]string{"DOMAIN": "x"}, secrets: append([]string{"OTHER"}, all...),
			want: InputError{UndeclaredSecrets: []string{"OTHER"}}, text: "declared: API_KEY, PULL_TOKEN, STATE_KEY"},
		{rule: "missing secrets", vars: map[string]string{"DOMAIN": "x"}, secrets: all[:1],
			want: InputError{MissingSecrets: []string{"PULL_TOKEN", "STATE_KEY"}}, text: "nobody gave: PULL_TOKEN, STATE_KEY"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			_, err := c.CheckInputs(tc.vars, tc.secrets)
			var got *InputError
			if !errors.As(err, &got) {
				t.Fatalf("the inputs were taken, err %v", err)
			}
			tc.want.Variables, tc.want.Secrets = c.Variables(), c.Secrets()
			if diff := cmp.Diff(&tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("the error %q does not say %q", err, tc.text)
			}
		})
	}
}

func TestAVariableThatIsNotGivenStaysUnset(t *testing.T) {
	c, _ := mustParse(t, fixture(t, "full.yml"))
	unset, err := c.CheckInputs(nil, c.Secrets())
	if err != nil || !slices.Equal(unset, []string{"DOMAIN"}) {
		t.Errorf("unset are %v, err %v; want DOMAIN and no error", unset, err)
	}
	if unset, err = c.CheckInputs(map[string]string{"DOMAIN": ""}, c.Secrets()); err != nil || len(unset) != 0 {
		t.Errorf("an empty value is given: unset are %v, err %v", unset, err)
	}
}

func TestNoInputErrorListsWithoutEnd(t *testing.T) {
	c, _ := mustParse(t, fixture(t, "full.yml"))
	vars := map[string]string{}
	for i := range 5000 {
		vars["V"+strings.Repeat("X", i)] = ""
	}
	if _, err := c.CheckInputs(vars, c.Secrets()); err == nil || len(err.Error()) > 4000 || !strings.Contains(err.Error(), "and 4970 more") {
		t.Errorf("the error has no bound: %.300v", err)
	}
}
