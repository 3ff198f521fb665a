package registration

import (
	"encoding/json"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/internal/domain/reference"
)

// Repository declares a repository that the API would take as JSON: the fields
// have the names of the keys, but for the address.
func Repository(given any) (*corev1.Secret, error) {
	raw, err := json.Marshal(given)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	values := map[string]string{}
	for name, field := range fields {
		if name == "repo" {
			name = "url"
		}
		switch v := field.(type) {
		case string:
			values[name] = v
		case bool:
			values[name] = strconv.FormatBool(v)
		case float64:
			values[name] = strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return declaration(reference.SecretName("repo", values["url"], values["project"]), "repository", values), nil
}
