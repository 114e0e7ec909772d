package yamlconfig

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// document is a file while it is read: where its keys are and what is wrong.
type document struct {
	name     string
	lines    map[string]int    // dotted key to line
	set      map[string]string // dotted key to the variable that set it
	problems []Fault
}

// Fault is one thing that is wrong with a config.
type Fault struct {
	// Line is where, from 1; 0 where no line is to blame.
	Line int
	// Key is the dotted key, such as listen.tcp, or the environment variable.
	Key string
	// Text says what is wrong and what to do.
	Text string
}

// Error is everything that is wrong with a config.
type Error struct {
	// Name is the file.
	Name string
	// Faults are in the order of their lines.
	Faults []Fault
}

// Error has one line a fault: file, line, key, text.
func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		place := e.Name
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", e.Name, f.Line)
		}
		if f.Key != "" {
			place += ": " + f.Key
		}
		lines[i] = place + ": " + f.Text
	}
	return strings.Join(lines, "\n")
}

// problem is what Validate says of one key.
type problem struct{ key, text string }

func (p *problem) Error() string { return p.key + ": " + p.text }

// Problem is an error about one key of a config, named with dots: listen.tcp.
func Problem(key, format string, args ...any) error {
	return &problem{key: key, text: fmt.Sprintf(format, args...)}
}

func (d *document) add(line int, key, text string) {
	d.problems = append(d.problems, Fault{Line: line, Key: key, Text: text})
}

// err gives the problems in the file's order, or nil.
func (d *document) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{Name: d.name, Faults: d.problems}
}

// found takes what Validate returned apart.
func (d *document) found(err error) {
	switch e := err.(type) { //nolint:errorlint // it is taken apart here
	case nil:
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			d.found(one)
		}
	default:
		p, ok := errors.AsType[*problem](err)
		if !ok {
			d.add(0, "", err.Error())
			return
		}
		if variable, ok := d.set[p.key]; ok {
			d.add(0, variable, p.text)
			return
		}
		d.add(d.line(p.key), p.key, p.text)
	}
}

// line is where a key stands, or the nearest key around it.
func (d *document) line(key string) int {
	for key != "" {
		if n, ok := d.lines[key]; ok {
			return n
		}
		key = key[:max(strings.LastIndexByte(key, '.'), 0)]
	}
	return 0
}

// survey notes where every key stands, and refuses aliases and a second document.
func (d *document) survey(n *yaml.Node, key string) {
	switch n.Kind {
	case yaml.DocumentNode:
		for _, c := range n.Content {
			d.survey(c, key)
		}
	case yaml.AliasNode:
		d.add(n.Line, key, "aliases are not accepted: write the value out")
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if key != "" {
				name = key + "." + name
			}
			if n.Content[i].Tag == "!!merge" {
				d.add(n.Content[i].Line, key, "merge keys are not accepted: write the values out")
				continue
			}
			d.lines[name] = n.Content[i].Line
			d.survey(n.Content[i+1], name)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			name := fmt.Sprintf("%s[%d]", key, i)
			d.lines[name] = c.Line
			d.survey(c, name)
		}
	}
}

// unknownField is how the YAML library words a key that the struct lacks.
var unknownField = regexp.MustCompile(`^field (.+) not found in type .*$`)

// syntax reports an error of the YAML library with its lines.
func (d *document) syntax(err error) {
	list, ok := errors.AsType[*yaml.LoadErrors](err)
	if !ok {
		one, ok := errors.AsType[*yaml.LoadError](err)
		if !ok {
			d.add(0, "", err.Error())
			return
		}
		d.add(one.Mark.Line, "", one.Message)
		return
	}
	for _, one := range list.Errors {
		if m := unknownField.FindStringSubmatch(one.Message); m != nil {
			d.add(one.Mark.Line, m[1], "there is no such key here")
			continue
		}
		d.add(one.Mark.Line, "", one.Message)
	}
}
