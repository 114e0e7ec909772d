package release

// Release is a tag of a repository with its config file.
type Release struct {
	// Repository is the URL without credentials.
	Repository string
	// Tag is the tag's name without refs/tags/.
	Tag string
	// Commit is the commit that the tag names, 40 hex digits (64 in a SHA-256
	// repository).
	Commit string
	// ConfigName is casemate.yml or tinfoil-config.yml.
	ConfigName string
	// Config is the validated file.
	Config *Config
}
