package cloudauth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func rsaKey(t *testing.T) (*rsa.PrivateKey, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestGCP: a service account by its file, a federated identity, the metadata
// server, and a refusal that shows nothing.
func TestGCP(t *testing.T) {
	dir := bare(t)
	key, text := rsaKey(t)
	refuse := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		switch {
		case refuse:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"account not found","echo":%q}`, r.Form.Get("assertion"))
		case r.URL.Path == "/token":
			claims := jwt.MapClaims{}
			if _, err := jwt.ParseWithClaims(r.Form.Get("assertion"), claims, func(*jwt.Token) (any, error) { return key.Public(), nil }); err != nil || claims["iss"] != "deployer@p.example" ||
				claims["scope"] != "https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/userinfo.email" {
				t.Errorf("assertion %v, %v", claims, err)
			}
			fmt.Fprint(w, `{"access_token":"of-the-file","token_type":"Bearer","expires_in":3600}`)
		case r.URL.Path == "/sts":
			if r.Form.Get("subject_token") != "pod-token" || r.Form.Get("audience") != "//iam.example/pool" {
				t.Errorf("exchange of %v", r.Form)
			}
			fmt.Fprint(w, `{"access_token":"federated","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","expires_in":3600}`)
		case strings.HasPrefix(r.URL.Path, "/computeMetadata/v1/instance/service-accounts/default/token"):
			if r.Header.Get("Metadata-Flavor") != "Google" {
				t.Error("asked without the header")
			}
			fmt.Fprint(w, `{"access_token":"of-the-machine","token_type":"Bearer","expires_in":3600}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	account, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "deployer@p.example", "private_key": text, "private_key_id": "k", "token_uri": s.URL + "/token", "project_id": "p"})
	if err != nil {
		t.Fatal(err)
	}
	federated, err := json.Marshal(map[string]any{
		"type": "external_account", "audience": "//iam.example/pool", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": s.URL + "/sts",
		"credential_source": map[string]any{"file": write(t, filepath.Join(dir, "pod-token"), "pod-token")},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "account.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	for want, content := range map[string]string{"of-the-file": string(account), "federated": string(federated)} {
		write(t, file, content)
		token, err := GCP(t.Context())
		if err != nil || token.Value != want || time.Until(token.Expires) < 50*time.Minute {
			t.Errorf("%s: %+v, %v", want, token, err)
		}
	}
	refuse = true
	write(t, file, string(account))
	if _, err = GCP(t.Context()); err == nil || err.Error() != "gcp: no token: 400 Bad Request: invalid_grant: account not found" {
		t.Errorf("refused: %v", err)
	}
	refuse = false
	write(t, file, `{"type": "service_account", "private_key": "do-not-show"`)
	if _, err = GCP(t.Context()); err == nil || strings.Contains(err.Error(), "do-not-show") {
		t.Errorf("broken file: %v", err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(s.URL, "http://"))
	if token, err := GCP(t.Context()); err != nil || token.Value != "of-the-machine" {
		t.Errorf("metadata: %+v, %v", token, err)
	}
}
