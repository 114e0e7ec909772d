package nvidia

import (
	"fmt"
	"strings"
	"testing"
)

// counted writes n different parts with commas between them.
func counted(n int, part string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(part, i)
	}
	return strings.Join(parts, ",")
}

func TestJSONSubset(t *testing.T) {
	for _, tc := range []struct {
		rule, in string
		ok       bool
	}{
		{"white space is free", " {\n\t\"a\" : [ \"b\" , 1 ,{} , [] ] }\r\n", true},
		{"zero is a number", `0`, true},
		{"nothing", ``, false},
		{"a member twice", `{"a":1,"a":1}`, false},
		{"names differ by case", `{"a":1,"A":1}`, true},
		{"escapes", `{"a":"\u0041"}`, false},
		{"an escaped quote", `{"a":"\""}`, false},
		{"bytes beyond ASCII", "{\"a\":\"\xc3\xa9\"}", false},
		{"a control character in a string", "{\"a\":\"\n\"}", false},
		{"null", `{"a":null}`, false},
		{"booleans", `{"a":true}`, false},
		{"fractions", `{"a":1.5}`, false},
		{"negative numbers", `{"a":-1}`, false},
		{"leading zeros", `{"a":01}`, false},
		{"ten digits", `{"a":1234567890}`, false},
		{"a comma too many", `[1,]`, false},
		{"a comma too few", `["a""b"]`, false},
		{"a comma at the object's end", `{"a":1,}`, false},
		{"a member without a value", `{"a"}`, false},
		{"an open array", `[1`, false},
		{"an open string", `"a`, false},
		{"two documents", `{}{}`, false},
		{"a NUL after the document", "{}\x00", false},
		{"a byte order mark", "\xef\xbb\xbf{}", false},
		{"deep nesting", strings.Repeat("[", 100) + strings.Repeat("]", 100), false},
		{"as many members as an object may have", "{" + counted(maxMembers, `"%x":1`) + "}", true},
		{"more members than any object has", "{" + counted(maxMembers+1, `"%x":1`) + "}", false},
		{"as many items as an array may have", "[" + counted(maxItems, "%d") + "]", true},
		{"more items than any array has", "[" + counted(maxItems+1, "%d") + "]", false},
		{"a document of two megabytes", strings.Repeat(" ", 2<<20) + "{}", false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if _, err := parseJSON([]byte(tc.in)); (err == nil) != tc.ok {
				t.Errorf("parse %.40q: %v, want accepted %t", tc.in, err, tc.ok)
			}
		})
	}
}
