package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"

	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/casemate-dev/casemate/internal/cli/terminal"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

// machine says whether results are for programs.
func (a *app) machine() bool { return a.flags.output != "table" }

// progress is where to tell how things go: beside the result if that is for
// people, else out of its way.
func (a *app) progress() (w io.Writer, isTerminal bool) {
	if a.machine() {
		return a.env.Err, a.env.ErrTerminal
	}
	return a.env.Out, a.env.OutTerminal
}

// view is how things are shown on a terminal or elsewhere.
func (a *app) view(isTerminal bool) view.View {
	colour := isTerminal && !a.flags.noColor && a.env.Getenv("NO_COLOR") == "" && a.env.Getenv("TERM") != "dumb"
	return view.View{Style: terminal.Style{Color: colour}, Now: a.env.Now()}
}

// say tells how things go.
func (a *app) say(text func(view.View) string) error {
	w, isTerminal := a.progress()
	return write(w, text(a.view(isTerminal)))
}

// result prints one thing: for people as text gives it.
func (a *app) result(m proto.Message, text func(view.View) string) error {
	if !a.machine() {
		return write(a.env.Out, text(a.view(a.env.OutTerminal)))
	}
	data, err := encode(m)
	if err != nil {
		return err
	}
	return a.structured(data)
}

// results prints a list: for programs as {"items": […]}.
func results[M proto.Message](a *app, list []M, text func(view.View, []M) string) error {
	if !a.machine() {
		return write(a.env.Out, text(a.view(a.env.OutTerminal), list))
	}
	items := make([]json.RawMessage, 0, len(list))
	for _, m := range list {
		data, err := encode(m)
		if err != nil {
			return err
		}
		items = append(items, data)
	}
	return a.items(items)
}

// items prints a list for programs.
func (a *app) items(list any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]any{"items": list}); err != nil {
		return fmt.Errorf("encode the list: %w", err)
	}
	return a.structured(b.Bytes())
}

// encode gives a message as proto JSON with every field.
func encode(m proto.Message) ([]byte, error) {
	data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return data, nil
}

// structured prints JSON as asked. protojson varies its spaces from build to
// build; this form doesn't.
func (a *app) structured(data []byte) error {
	if a.flags.output == "yaml" {
		text, err := asYAML(data)
		if err != nil {
			return err
		}
		return write(a.env.Out, text)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(data), "", "  "); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return write(a.env.Out, escaped(b.String())+"\n")
}

// escaped writes control characters and format characters that JSON and YAML
// allow in quoted texts as \u: they would reach a terminal as they are. Outside
// of such texts there are none but line ends.
func escaped(text string) string {
	var b bytes.Buffer
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteRune(r)
		case r <= 0xffff && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// asYAML writes JSON as YAML, in the same order of keys.
func asYAML(data []byte) (string, error) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(escaped(string(data))), &n); err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	block(&n)
	out, err := yaml.Marshal(&n)
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	return escaped(string(out)), nil
}

// block turns the flow style of JSON into that of YAML. Texts keep their quotes
// where YAML would read something else, or a terminal would act on them.
func block(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && printable(n.Value) {
		n.Style &^= yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		block(c)
	}
}

func printable(text string) bool {
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
