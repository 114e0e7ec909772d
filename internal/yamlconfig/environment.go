package yamlconfig

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// environment lays variables with the prefix over cfg, a pointer to a struct.
func (d *document) environment(prefix string, environ []string, cfg any) {
	if prefix == "" {
		return
	}
	d.set = map[string]string{}
	fields := map[string]leaf{}
	leaves(reflect.ValueOf(cfg).Elem(), nil, func(l leaf) {
		fields[prefix+"_"+strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(l.key))] = l
	})
	slices.Sort(environ)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, prefix+"_") {
			continue
		}
		l, ok := fields[name]
		if !ok {
			d.add(0, name, "no key of the config has this variable: correct its name or unset it")
			continue
		}
		if err := l.assign(value); err != nil {
			d.add(0, name, err.Error())
			continue
		}
		d.set[l.key] = name
	}
}

// leaf is a field that one variable can hold.
type leaf struct {
	key   string
	value reflect.Value
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	nodeReader   = reflect.TypeFor[yaml.Unmarshaler]()
)

// leaves calls fn for every field of a struct, and of the structs in it, that is
// a scalar or a list of texts.
func leaves(v reflect.Value, path []string, fn func(leaf)) {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if tag == "" || tag == "-" {
			continue
		}
		f, here := v.Field(i), append(slices.Clone(path), tag)
		switch {
		case f.Addr().Type().Implements(nodeReader):
			fn(leaf{strings.Join(here, "."), f})
		case f.Kind() == reflect.Struct:
			leaves(f, here, fn)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() != reflect.String, f.Kind() == reflect.Map, f.Kind() == reflect.Pointer:
		default:
			fn(leaf{strings.Join(here, "."), f})
		}
	}
}

// assign sets the field from the variable's value.
func (l leaf) assign(value string) error {
	switch {
	case l.value.Kind() == reflect.Slice:
		list := reflect.MakeSlice(l.value.Type(), 0, 0)
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = reflect.Append(list, reflect.ValueOf(part).Convert(l.value.Type().Elem()))
			}
		}
		l.value.Set(list)
		return nil
	case l.value.Kind() == reflect.String:
		l.value.SetString(value)
		return nil
	}
	node := yaml.Node{Kind: yaml.ScalarNode, Value: value}
	if err := node.Decode(l.value.Addr().Interface()); err != nil {
		return fmt.Errorf("%.64q is not usable: %s is expected", value, l.wanted())
	}
	return nil
}

// wanted names the form of the field in words.
func (l leaf) wanted() string {
	switch {
	case l.value.Type() == durationType:
		return "a time such as 30s"
	case l.value.Type() == reflect.TypeFor[Size]():
		return "a size such as 16MiB"
	case l.value.Kind() == reflect.Bool:
		return "true or false"
	default:
		return "a number"
	}
}
