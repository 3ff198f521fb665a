package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// Config is plugin.yaml (spec/wire.md §4.2).
type Config struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version  string     `json:"version"`
		Init     Command    `json:"init"`
		Generate Command    `json:"generate"`
		Discover Discover   `json:"discover"`
		Params   Parameters `json:"parameters"`
		// PreserveFileMode keeps the modes of the archive.
		PreserveFileMode bool `json:"preserveFileMode"`
		ProvideGitCreds  bool `json:"provideGitCreds"`
	} `json:"spec"`
}

// Command is a program with its arguments; no shell reads it.
type Command struct {
	Command []string `json:"command"`
	Args    []string `json:"args"`
}

func (c Command) argv() []string { return append(append([]string{}, c.Command...), c.Args...) }

// Discover says for which folders a plugin is; the first that is set counts.
type Discover struct {
	FileName string `json:"fileName"`
	Find     struct {
		Command
		Glob string `json:"glob"`
	} `json:"find"`
}

func (d Discover) configured() bool {
	return d.FileName != "" || d.Find.Glob != "" || len(d.Find.Command.Command) > 0
}

// Parameters are what users may set.
type Parameters struct {
	Static  []Parameter `json:"static"`
	Dynamic Command     `json:"dynamic"`
}

// LoadConfig reads plugin.yaml of a folder.
func LoadConfig(dir string) (Config, error) {
	file := filepath.Join(dir, "plugin.yaml")
	raw, err := os.ReadFile(file)
	if err != nil {
		return Config{}, fmt.Errorf("configuration of the plugin: %w", err)
	}
	var c Config
	text, err := yaml.YAMLToJSON(raw)
	if err == nil {
		err = json.Unmarshal(text, &c) // without the coercions of YAML: a version is a string
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case c.Kind != "ConfigManagementPlugin":
		err = fmt.Errorf("kind is %q, want ConfigManagementPlugin", c.Kind)
	case c.Metadata.Name == "":
		err = errors.New("metadata.name is empty")
	case filepath.Base(c.Name()) != c.Name():
		err = fmt.Errorf("metadata.name %q is not a file name", c.Name())
	case len(c.Spec.Generate.Command) == 0:
		err = errors.New("spec.generate.command is empty")
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// Name is how Applications name the plugin, and its socket.
func (c Config) Name() string {
	if c.Spec.Version == "" {
		return c.Metadata.Name
	}
	return c.Metadata.Name + "-" + c.Spec.Version
}
