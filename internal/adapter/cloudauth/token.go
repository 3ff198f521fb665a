package cloudauth

import (
	"encoding/json"
	"fmt"
	"time"
)

// Token is what a cluster accepts until it expires.
type Token struct {
	Value   string
	Expires time.Time
}

// Versions of the protocol between a client of Kubernetes and its program.
const (
	v1      = "client.authentication.k8s.io/v1"
	v1beta1 = "client.authentication.k8s.io/v1beta1"
)

// Credential is the answer of a program to the client that started it. info
// is what the client says of itself (variable KUBERNETES_EXEC_INFO), which has
// the version of the answer in it; without it that is v1beta1.
func Credential(t Token, info string) ([]byte, error) {
	asked := struct {
		APIVersion string `json:"apiVersion"`
	}{v1beta1}
	if info != "" {
		if err := json.Unmarshal([]byte(info), &asked); err != nil {
			return nil, fmt.Errorf("KUBERNETES_EXEC_INFO is not valid JSON: %w", err)
		}
	}
	if asked.APIVersion != v1 && asked.APIVersion != v1beta1 {
		return nil, fmt.Errorf("the client asks for a credential in version %q: set apiVersion to %s or %s", asked.APIVersion, v1, v1beta1)
	}
	status := map[string]string{"token": t.Value}
	if !t.Expires.IsZero() {
		status["expirationTimestamp"] = t.Expires.UTC().Format(time.RFC3339)
	}
	return json.Marshal(map[string]any{"kind": "ExecCredential", "apiVersion": asked.APIVersion, "spec": map[string]any{"interactive": false}, "status": status})
}
