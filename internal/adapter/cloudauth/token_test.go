package cloudauth

import (
	"testing"
	"time"
)

func TestCredential(t *testing.T) {
	token := Token{Value: "abc", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("x", 3600))}
	for info, want := range map[string]string{
		"": `{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","spec":{"interactive":false},"status":{"expirationTimestamp":"2026-01-02T02:04:05Z","token":"abc"}}`,
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`: `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false},"status":{"expirationTimestamp":"2026-01-02T02:04:05Z","token":"abc"}}`,
	} {
		got, err := Credential(token, info)
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", info, got, err)
		}
	}
	for info, want := range map[string]string{
		"{": "KUBERNETES_EXEC_INFO is not valid JSON: unexpected end of JSON input",
		`{"apiVersion":"client.authentication.k8s.io/v1alpha1"}`: `the client asks for a credential in version "client.authentication.k8s.io/v1alpha1": set apiVersion to client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1`,
	} {
		if got, err := Credential(token, info); err == nil || err.Error() != want {
			t.Errorf("%s: %s, %v", info, got, err)
		}
	}
}
