package cloudauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bare takes away what the machine of the test knows of clouds.
func bare(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		for _, prefix := range []string{"AWS_", "AZURE_", "AAD_", "GOOGLE_", "GCE_", "CLOUDSDK_"} {
			if strings.HasPrefix(name, prefix) {
				t.Setenv(name, "")
			}
		}
	}
	t.Setenv("HOME", dir)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	return dir
}

func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// signedBy computes the signature of the request in the token anew, as STS
// does, and gives the request.
func signedBy(t *testing.T, token, secret string) *url.URL {
	t.Helper()
	encoded, ok := strings.CutPrefix(token, "k8s-aws-v1.")
	if !ok || strings.Contains(encoded, "=") {
		t.Fatalf("%s is not in the form of EKS", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(string(raw))
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	signature := query.Get("X-Amz-Signature")
	query.Del("X-Amz-Signature")
	var headers strings.Builder
	for _, name := range strings.Split(query.Get("X-Amz-SignedHeaders"), ";") {
		fmt.Fprintf(&headers, "%s:%s\n", name, map[string]string{"host": u.Host, "x-k8s-aws-id": "prod"}[name])
	}
	empty := sha256.Sum256(nil)
	canonical := strings.Join([]string{"GET", "/", strings.ReplaceAll(query.Encode(), "+", "%20"), headers.String(), query.Get("X-Amz-SignedHeaders"), hex.EncodeToString(empty[:])}, "\n")
	scope := strings.SplitN(query.Get("X-Amz-Credential"), "/", 2)[1]
	sum := sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", query.Get("X-Amz-Date"), scope, hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range append(strings.Split(scope, "/"), text) {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	if hex.EncodeToString(key) != signature {
		t.Errorf("STS would refuse the signature of %s", u)
	}
	return u
}

// stsServer gives credentials to whoever takes a role.
func stsServer(t *testing.T, seen *[]url.Values) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		*seen = append(*seen, r.PostForm)
		action := r.PostForm.Get("Action")
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials><AccessKeyId>AKID-ROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey><SessionToken>role-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></%[1]sResult></%[1]sResponse>`, action)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

var now = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func TestAWS(t *testing.T) {
	dir := bare(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "static-secret")
	token, err := AWS(t.Context(), EKS{Cluster: "prod"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if !token.Expires.Equal(now.Add(14 * time.Minute)) {
		t.Errorf("expires %s", token.Expires)
	}
	u := signedBy(t, token.Value, "static-secret")
	for name, want := range map[string]string{
		"Action": "GetCallerIdentity", "Version": "2011-06-15", "X-Amz-Expires": "60", "X-Amz-SignedHeaders": "host;x-k8s-aws-id", "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
	} {
		if got := u.Query().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if u.Scheme != "https" || u.Host != "sts.us-east-1.amazonaws.com" {
		t.Errorf("asks %s", u.Host)
	}
	t.Setenv("AWS_REGION", "eu-central-1")
	if token, err = AWS(t.Context(), EKS{Cluster: "prod"}, now); err != nil || signedBy(t, token.Value, "static-secret").Host != "sts.eu-central-1.amazonaws.com" {
		t.Errorf("in a region: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	write(t, filepath.Join(dir, "credentials"), "[ops]\naws_access_key_id = AKID-OPS\naws_secret_access_key = ops-secret\n")
	if token, err = AWS(t.Context(), EKS{Cluster: "prod", Profile: "ops"}, now); err != nil || !strings.HasPrefix(signedBy(t, token.Value, "ops-secret").Query().Get("X-Amz-Credential"), "AKID-OPS/") {
		t.Errorf("with a profile: %v", err)
	}
}

// TestAWSRoles: a role is taken with what is there, with the token of a service
// account, or the identity of the pod is used.
func TestAWSRoles(t *testing.T) {
	dir := bare(t)
	t.Setenv("AWS_REGION", "us-west-2")
	var seen []url.Values
	t.Setenv("AWS_ENDPOINT_URL_STS", stsServer(t, &seen))
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "static-secret")
	token, err := AWS(t.Context(), EKS{Cluster: "prod", RoleARN: "arn:aws:iam::1:role/deployer"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if u := signedBy(t, token.Value, "role-secret"); u.Query().Get("X-Amz-Security-Token") != "role-session" {
		t.Errorf("not signed with the role: %s", u)
	}
	if len(seen) != 1 || seen[0].Get("Action") != "AssumeRole" || seen[0].Get("RoleArn") != "arn:aws:iam::1:role/deployer" || seen[0].Get("RoleSessionName") != "sluice" {
		t.Errorf("STS was asked %v", seen)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, filepath.Join(dir, "token"), "pod-token"))
	seen = nil
	if token, err = AWS(t.Context(), EKS{Cluster: "prod"}, now); err != nil {
		t.Fatal(err)
	}
	signedBy(t, token.Value, "role-secret")
	if len(seen) != 1 || seen[0].Get("Action") != "AssumeRoleWithWebIdentity" || seen[0].Get("WebIdentityToken") != "pod-token" {
		t.Errorf("STS was asked %v", seen)
	}
	t.Setenv("AWS_ROLE_ARN", "")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "")
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "agent-token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"AccessKeyId":"AKID-POD","SecretAccessKey":"agent-secret","Token":"agent-session","Expiration":"2099-01-01T00:00:00Z"}`)
	}))
	t.Cleanup(agent.Close)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.URL)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write(t, filepath.Join(dir, "agent"), "agent-token"))
	if token, err = AWS(t.Context(), EKS{Cluster: "prod"}, now); err != nil {
		t.Fatal(err)
	}
	signedBy(t, token.Value, "agent-secret")
}

func TestAWSRefuses(t *testing.T) {
	bare(t)
	if _, err := AWS(t.Context(), EKS{}, now); err == nil || !strings.Contains(err.Error(), "--cluster-name") {
		t.Errorf("no name: %v", err)
	}
	if _, err := AWS(t.Context(), EKS{Cluster: "prod"}, now); err == nil || !strings.Contains(err.Error(), "aws: no identity to sign with") {
		t.Errorf("no identity: %v", err)
	}
	if _, err := AWS(t.Context(), EKS{Cluster: "prod", Profile: "gone"}, now); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("no profile: %v", err)
	}
	for role, want := range map[string]string{"arn:aws-cn:iam::1:role/x": "cn-north-1", "arn:aws-us-gov:iam::1:role/x": "us-gov-west-1", "": "us-east-1"} {
		if got := partitionRegion(role); got != want {
			t.Errorf("%s: %s", role, got)
		}
	}
}
