package yamlconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// MaxFile is the largest file that is read, in bytes.
const MaxFile = 1 << 20

// Defaulter is a config that knows its defaults. It is called on the zero value.
type Defaulter interface{ SetDefaults() }

// Validator is a config that checks itself once file and environment are in it.
// It joins several errors with errors.Join; those made by [Problem] are told with
// the place of their key.
type Validator interface{ Validate() error }

// Source is where a config comes from.
type Source struct {
	// Name stands for the file in errors: its path.
	Name string
	// Text is the file.
	Text []byte
	// Prefix begins the names of the environment variables, without the
	// underscore that follows it: CASEMATE_AGENT. Empty reads none.
	Prefix string
	// Environ is the environment as os.Environ gives it.
	Environ []string
}

// Load reads the file at path and lays the process's environment over it. The
// error of an unusable config is an *[Error] with everything that is wrong.
func Load[T any](path, prefix string) (T, error) {
	var none T
	text, err := readFile(path)
	if err != nil {
		return none, err
	}
	return Parse[T](Source{Name: path, Text: text, Prefix: prefix, Environ: os.Environ()})
}

// Parse reads a config. T is a struct all of whose exported fields have a yaml
// tag. An unknown, repeated or aliased key and an unknown variable with the
// prefix are refused.
func Parse[T any](src Source) (T, error) {
	var cfg, none T
	if d, ok := any(&cfg).(Defaulter); ok {
		d.SetDefaults()
	}
	doc := document{name: src.Name}
	doc.load(src.Text, &cfg)
	if len(doc.problems) == 0 {
		doc.environment(src.Prefix, src.Environ, &cfg)
	}
	if v, ok := any(&cfg).(Validator); ok && len(doc.problems) == 0 {
		doc.found(v.Validate())
	}
	if err := doc.err(); err != nil {
		return none, err
	}
	return cfg, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open config: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return text, nil
}

// load reads the file's one document into cfg and notes where its keys stand.
func (d *document) load(text []byte, cfg any) {
	if len(text) > MaxFile {
		d.add(0, "", fmt.Sprintf("the file has more than %d bytes", MaxFile))
		return
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text), limits())
	if err != nil {
		d.syntax(err)
		return
	}
	var root yaml.Node
	if err := loader.Load(&root); errors.Is(err, io.EOF) {
		return // an empty file is a config of defaults
	} else if err != nil {
		d.syntax(err)
		return
	}
	d.lines = map[string]int{}
	d.survey(&root, "")
	if len(d.problems) > 0 {
		return
	}
	if err := yaml.Load(text, cfg, limits(), yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		d.syntax(err)
	}
}

func limits() yaml.Option {
	return yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth)))
}

const maxDepth = 32
