package notice

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// ConfigName is the name of the config map, SecretName that of its Secret.
const (
	ConfigName = "argocd-notifications-cm"
	SecretName = "argocd-notifications-secret"
)

// Config is what the config map declares, by name.
type Config struct {
	// Services are the types of services by the names that recipients use.
	Services  map[string]string
	Triggers  map[string]Trigger
	Templates map[string]Template
	// Context is what templates and conditions find in context.
	Context map[string]string
	// Problems are the keys that cannot be used, and why; they are in none of the
	// maps above.
	Problems map[string]error
}

// Template is a message before it is rendered: the text, and what it looks like
// for single services.
type Template map[string]any

// Bounds of what one key declares.
const (
	maxConditions = 50
	maxSend       = 50
)

// Parse reads the data of the config map (spec/observability.md §4.1). Keys that
// belong to nothing here are left alone.
func Parse(data map[string]string) *Config {
	c := &Config{
		Services: map[string]string{}, Triggers: map[string]Trigger{}, Templates: map[string]Template{},
		Context: map[string]string{}, Problems: map[string]error{},
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if err := c.read(key, data[key]); err != nil {
			c.Problems[key] = fmt.Errorf("ConfigMap/%s: key %s %w", ConfigName, key, err)
		}
	}
	return c
}

func (c *Config) read(key, text string) error {
	kind, name, _ := strings.Cut(key, ".")
	switch {
	case key == "context":
		found := map[string]string{}
		if err := yaml.Unmarshal([]byte(text), &found); err != nil {
			return errors.New("is no map of texts, like argocdUrl: https://cd.example.com")
		}
		c.Context = found
	case key == "config.yaml":
		return errors.New("is of a form that is no longer read: write its triggers and templates as keys trigger.NAME and template.NAME")
	case kind == "service":
		return c.service(name)
	case kind == "trigger" && name != "":
		t, err := parseTrigger(text)
		if err != nil {
			return err
		}
		c.Triggers[name] = t
	case kind == "template" && name != "":
		var t Template
		if err := yaml.Unmarshal([]byte(text), &t); err != nil || t == nil {
			return errors.New("is no map with message, or with a section for a service")
		}
		if _, ok := t["message"].(string); t["message"] != nil && !ok {
			return errors.New("has a message that is no text")
		}
		c.Templates[name] = t
	}
	return nil
}

// service notes a service; what is said of it is for whoever sends.
func (c *Config) service(name string) error {
	kind, own, named := strings.Cut(name, ".")
	if kind == "" || named && own == "" || strings.Contains(own, ".") {
		return errors.New("names no service: write service.TYPE or service.TYPE.NAME")
	}
	if !named {
		own = kind
	}
	c.Services[own] = kind
	return nil
}

// condition is what is written of one.
type condition struct {
	When        string   `json:"when"`
	Send        []string `json:"send"`
	OncePer     string   `json:"oncePer"`
	Description string   `json:"description"`
}

// parseTrigger reads a list of conditions; one alone may stand without a list,
// which guides show and the reference refuses.
func parseTrigger(text string) (Trigger, error) {
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("is no YAML: %w", err)
	}
	if bytes.HasPrefix(raw, []byte("{")) {
		raw = slices.Concat([]byte("["), raw, []byte("]"))
	}
	var all []condition
	if err := yaml.Unmarshal(raw, &all); err != nil {
		return nil, errors.New("is no list of conditions with the fields when (a text), send (a list of names), oncePer (a text), description (a text)")
	}
	if len(all) > maxConditions {
		return nil, fmt.Errorf("has %d conditions, at most %d are allowed", len(all), maxConditions)
	}
	t := make(Trigger, len(all))
	for i, one := range all {
		if len(one.Send) > maxSend {
			return nil, fmt.Errorf("[%d].send has %d names, at most %d are allowed", i, len(one.Send), maxSend)
		}
		t[i] = Condition{When: one.When, Send: one.Send}
		if t[i].when, err = compile(one.When); err != nil {
			return nil, fmt.Errorf("[%d].when %w", i, err)
		}
		if t[i].oncePer, err = compile(one.OncePer); err != nil {
			return nil, fmt.Errorf("[%d].oncePer %w", i, err)
		}
	}
	return t, nil
}
