// Package yamlconfig loads a daemon's configuration: one strict YAML file, and
// environment variables over it.
//
//	type Config struct {
//		Listen struct {
//			TCP string `yaml:"tcp"`
//		} `yaml:"listen"`
//		Grace time.Duration   `yaml:"grace"` // 30s
//		Log   yamlconfig.Size `yaml:"log"`   // 16MiB
//	}
//
// With the prefix CASEMATE_AGENT, CASEMATE_AGENT_LISTEN_TCP overrides
// listen.tcp. Lists of texts are separated by commas there. A config that has a
// method SetDefaults is given its defaults first; one that has Validate is
// checked at the end, and what Validate says with [Problem] is told with the
// line that holds the key.
package yamlconfig
