package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// validate checks values against the schemas of a chart and its dependencies.
// Helm's own check follows references to files and URLs; this one does not.
func validate(c *chart.Chart, values any) error {
	fields, ok := values.(map[string]any)
	if v, isValues := values.(common.Values); isValues {
		fields, ok = v, true
	}
	if !ok {
		return fmt.Errorf("values of chart %s are not an object", c.Name())
	}
	if len(c.Schema) > 0 {
		if err := validateOne(c.Schema, fields); err != nil {
			return fmt.Errorf("values do not match values.schema.json of chart %s: %w", c.Name(), err)
		}
	}
	for _, d := range c.Dependencies() {
		if own, exists := fields[d.Name()]; exists && own != nil {
			if err := validate(d, own); err != nil {
				return err
			}
		}
	}
	return nil
}

func validateOne(schemaJSON []byte, values map[string]any) error {
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaJSON))
	if err != nil {
		return fmt.Errorf("the schema is not valid JSON: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	const name = "chart:///values.schema.json"
	if err := compiler.AddResource(name, schema); err != nil {
		return fmt.Errorf("the schema: %w", err)
	}
	compiled, err := compiler.Compile(name)
	if err != nil {
		return fmt.Errorf("the schema: %w", err)
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("values: %w", err)
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("values: %w", err)
	}
	if err := compiled.Validate(plain); err != nil {
		_, text, found := strings.Cut(err.Error(), "\n")
		if !found {
			text = err.Error()
		}
		return fmt.Errorf("%s", strings.Join(strings.Fields(text), " "))
	}
	return nil
}

// noLoader refuses references out of the schema.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside the schema: copy what it defines into $defs", url)
}
