package cloudauth

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// entra stands for the login server of Azure and for the metadata server of a
// machine; it keeps what it was asked.
type entra struct {
	*httptest.Server
	asked  url.Values
	header http.Header
	path   string
	refuse bool
}

func newEntra(t *testing.T) *entra {
	t.Helper()
	e := &entra{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		e.asked, e.header, e.path = r.Form, r.Header, r.URL.Path
		w.Header().Set("Content-Type", "application/json")
		if e.refuse {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"AADSTS7000215: invalid client secret","echo":%q}`, r.Form.Encode())
			return
		}
		expires := "3599"
		if r.Method == http.MethodGet {
			expires = `"3599"`
		}
		fmt.Fprintf(w, `{"access_token":"azure-token","token_type":"Bearer","expires_in":%s}`, expires)
	}))
	t.Cleanup(e.Close)
	return e
}

func TestAzure(t *testing.T) {
	dir := t.TempDir()
	e := newEntra(t)
	key, text := rsaKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pair := write(t, filepath.Join(dir, "pair.pem"), text+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	federated := write(t, filepath.Join(dir, "federated"), "pod-token\n")
	base := map[string]string{"AZURE_AUTHORITY_HOST": e.URL, "AZURE_TENANT_ID": "tenant-1", "AZURE_CLIENT_ID": "client-1"}
	const tenantPath = "/tenant-1/oauth2/v2.0/token"
	for name, c := range map[string]struct {
		set  map[string]string
		path string
		want map[string]string
	}{
		"workload identity": {map[string]string{"AAD_LOGIN_METHOD": "workloadidentity", "AZURE_FEDERATED_TOKEN_FILE": federated}, tenantPath,
			map[string]string{"grant_type": "client_credentials", "client_id": "client-1", "client_assertion": "pod-token", "client_assertion_type": assertionType, "scope": aksServer + "/.default", "client_secret": ""}},
		"guessed from the pod": {map[string]string{"AZURE_FEDERATED_TOKEN_FILE": federated}, tenantPath, map[string]string{"client_assertion": "pod-token"}},
		"secret": {map[string]string{"AAD_LOGIN_METHOD": "spn", "AZURE_CLIENT_ID": "", "AAD_SERVICE_PRINCIPAL_CLIENT_ID": "client-2", "AAD_SERVICE_PRINCIPAL_CLIENT_SECRET": "s3cret"}, tenantPath,
			map[string]string{"grant_type": "client_credentials", "client_id": "client-2", "client_secret": "s3cret"}},
		"another server": {map[string]string{"AZURE_CLIENT_SECRET": "s3cret", "AAD_SERVER_APPLICATION_ID": "own-server"}, tenantPath, map[string]string{"scope": "own-server/.default"}},
		"certificate":    {map[string]string{"AAD_LOGIN_METHOD": "spn", "AAD_SERVICE_PRINCIPAL_CLIENT_CERTIFICATE": pair}, tenantPath, map[string]string{"client_assertion_type": assertionType, "client_secret": ""}},
		"password": {map[string]string{"AAD_LOGIN_METHOD": "ropc", "AAD_USER_PRINCIPAL_NAME": "u@x", "AAD_USER_PRINCIPAL_PASSWORD": "p"}, tenantPath,
			map[string]string{"grant_type": "password", "username": "u@x", "password": "p", "client_id": "client-1"}},
		"machine": {map[string]string{"AAD_LOGIN_METHOD": "MSI", "AZURE_POD_IDENTITY_AUTHORITY_HOST": e.URL}, "/metadata/identity/oauth2/token",
			map[string]string{"resource": aksServer, "api-version": "2018-02-01", "client_id": "client-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := Azure(t.Context(), environment(base, c.set), now)
			if err != nil {
				t.Fatal(err)
			}
			if token.Value != "azure-token" || token.Expires.IsZero() {
				t.Errorf("%+v", token)
			}
			if e.path != c.path {
				t.Errorf("asked %s", e.path)
			}
			for k, v := range c.want {
				if e.asked.Get(k) != v {
					t.Errorf("%s is %q, want %q", k, e.asked.Get(k), v)
				}
			}
			switch name {
			case "machine":
				if e.header.Get("Metadata") != "true" {
					t.Error("asked without the header")
				}
			case "certificate":
				claims := &jwt.RegisteredClaims{}
				parsed, err := jwt.ParseWithClaims(e.asked.Get("client_assertion"), claims, func(*jwt.Token) (any, error) { return key.Public(), nil }, jwt.WithTimeFunc(func() time.Time { return now }))
				if err != nil || claims.Issuer != "client-1" || claims.Subject != "client-1" || claims.Audience[0] != e.URL+tenantPath || claims.ID == "" || parsed.Header["x5t#S256"] == nil {
					t.Errorf("assertion %+v, %v", claims, err)
				}
			}
		})
	}
	e.refuse = true
	_, err = Azure(t.Context(), environment(base, map[string]string{"AZURE_CLIENT_SECRET": "s3cret"}), now)
	if err == nil || err.Error() != "azure: spn: no token: 401 Unauthorized: invalid_client: AADSTS7000215: invalid client secret" {
		t.Errorf("refused: %v", err)
	}
}

func environment(sets ...map[string]string) Environment {
	all := map[string]string{}
	for _, set := range sets {
		for k, v := range set {
			all[k] = v
		}
	}
	return func(name string) (string, bool) { v, ok := all[name]; return v, ok }
}

func TestAzureRefuses(t *testing.T) {
	dir := t.TempDir()
	broken := write(t, filepath.Join(dir, "broken"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	for name, c := range map[string]struct {
		set  map[string]string
		want string
	}{
		"nothing set":          {nil, `AAD_LOGIN_METHOD is "": want workloadidentity, spn, msi or ropc`},
		"needs a person":       {map[string]string{"AAD_LOGIN_METHOD": "devicecode"}, `AAD_LOGIN_METHOD is "devicecode": want`},
		"no file":              {map[string]string{"AAD_LOGIN_METHOD": "workloadidentity"}, "AZURE_FEDERATED_TOKEN_FILE is not set"},
		"file is gone":         {map[string]string{"AZURE_FEDERATED_TOKEN_FILE": dir + "/gone"}, "no such file"},
		"no tenant":            {map[string]string{"AZURE_CLIENT_SECRET": "s", "AZURE_CLIENT_ID": "c"}, "AZURE_TENANT_ID is not"},
		"a tenant with a path": {map[string]string{"AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "../x"}, "AZURE_TENANT_ID is not"},
		"no client":            {map[string]string{"AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "x"}, "AZURE_CLIENT_ID is not set"},
		"a secret in the open": {map[string]string{"AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "x", "AZURE_AUTHORITY_HOST": "http://login.example"}, "not an https:// address"},
		"unknown cloud":        {map[string]string{"AZURE_CLIENT_SECRET": "s", "AAD_ENVIRONMENT_NAME": "Moon"}, `AAD_ENVIRONMENT_NAME "Moon" is not known`},
		"broken key":           {map[string]string{"AAD_LOGIN_METHOD": "spn", "AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "x", "AAD_SERVICE_PRINCIPAL_CLIENT_CERTIFICATE": broken}, "a block of it cannot be read"},
		"no key at all":        {map[string]string{"AAD_LOGIN_METHOD": "spn"}, "neither AAD_SERVICE_PRINCIPAL_CLIENT_SECRET nor"},
		"no user":              {map[string]string{"AAD_LOGIN_METHOD": "ropc", "AZURE_TENANT_ID": "x"}, "AAD_USER_PRINCIPAL_NAME or AZURE_CLIENT_ID is not set"},
	} {
		_, err := Azure(t.Context(), environment(c.set), now)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	l := login{env: environment(map[string]string{"AAD_ENVIRONMENT_NAME": "AzureChinaCloud", "AZURE_TENANT_ID": "x"})}
	if got, err := l.tokenURL(); err != nil || got != "https://login.chinacloudapi.cn/x/oauth2/v2.0/token" {
		t.Errorf("%s, %v", got, err)
	}
}
