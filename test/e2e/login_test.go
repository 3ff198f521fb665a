package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/chaos"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/rig"
)

// clouds answers as the token services of AWS, Google and Azure do, with
// tokens of the real cluster where those services give out tokens.
func clouds(t *testing.T, tokens *atomic.Pointer[map[string]string]) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		w.Header().Set("Content-Type", "application/json")
		form := func(want map[string]string) bool {
			for k, v := range want {
				if r.Form.Get(k) != v {
					w.WriteHeader(http.StatusUnauthorized)
					fmt.Fprintf(w, `{"error":"invalid_client","error_description":"wrong %s"}`, k)
					return false
				}
			}
			return true
		}
		switch {
		case r.URL.Path == "/google" && r.Form.Get("assertion") != "":
			fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, (*tokens.Load())["gke"])
		case r.URL.Path == "/tenant/oauth2/v2.0/token" && form(map[string]string{"client_id": "deployer", "client_secret": "s3cret,azure"}):
			fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, (*tokens.Load())["aks"])
		case r.Form.Get("Action") == "AssumeRole" && form(map[string]string{"RoleArn": "arn:aws:iam::1:role/deployer"}):
			w.Header().Set("Content-Type", "text/xml")
			fmt.Fprint(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>AKID-ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>of-the-role</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestClusterLogin deploys with the tokens that the shipped argocd-k8s-auth gets
// from clouds, with certificates that end, and with an account that may not
// list everything.
func TestClusterLogin(t *testing.T) {
	dir := t.TempDir()
	var tokens atomic.Pointer[map[string]string]
	address := clouds(t, &tokens)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s3cret,aws", "AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL_STS": address, "AWS_EC2_METADATA_DISABLED": "true",
		"GOOGLE_APPLICATION_CREDENTIALS": googleAccount(t, filepath.Join(dir, "google.json"), address+"/google"),
		"AUTHPLUGIN_LOG":                 filepath.Join(dir, "calls"), "AUTHPLUGIN_CREDENTIAL": filepath.Join(dir, "credential"),
	} {
		t.Setenv(name, value)
	}
	f := &forms{T: t, refused: map[string]bool{}, plugin: filepath.Join(dir, "authplugin")}
	if out, err := exec.Command("go", "build", "-o", f.plugin, "./testdata/authplugin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.rig = start(t, "one:env=test")
	var err error
	f.one, err = f.rig.Fleet.Cluster("one")
	must(t, err)
	f.admin, err = f.one.Config()
	must(t, err)
	f.core, err = kubernetes.NewForConfig(f.admin)
	must(t, err)
	must(t, f.rig.Launch())
	for _, p := range []struct {
		name string
		run  func(*forms)
	}{
		{"clouds", func(f *forms) { f.clouds(&tokens, address) }}, {"rights", (*forms).rights}, {"certificates", (*forms).certificates},
	} {
		t.Run(p.name, func(t *testing.T) {
			part := &forms{T: t, rig: f.rig, one: f.one, admin: f.admin, core: f.core, plugin: f.plugin, refused: f.refused}
			p.run(part)
		})
	}
	log, err := os.ReadFile(f.rig.Log())
	must(t, err)
	for _, secret := range []string{"s3cret", "of-the-role", "k8s-aws-v1.", "eyJ"} {
		if strings.Contains(string(log), secret) {
			t.Errorf("the log shows %s", secret)
		}
	}
}

// googleAccount writes the file of a service account.
func googleAccount(t *testing.T, file, address string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	raw, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "d@p", "token_uri": address, "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	must(t, err)
	must(t, os.WriteFile(file, raw, 0o600))
	return file
}

// clouds deploys with the three forms of argocd-k8s-auth; none is installed.
func (f *forms) clouds(tokens *atomic.Pointer[map[string]string], address string) {
	given := map[string]string{"gke": f.account("gke"), "aks": f.account("aks")}
	tokens.Store(&given)
	const version = "client.authentication.k8s.io/v1beta1"
	forms := map[string]map[string]any{
		"cloud-eks": {"awsAuthConfig": map[string]any{"clusterName": "prod", "roleARN": "arn:aws:iam::1:role/deployer"}},
		"cloud-gke": {"execProviderConfig": map[string]any{"command": "argocd-k8s-auth", "args": []string{"gcp"}, "apiVersion": version}},
		"cloud-aks": {"execProviderConfig": map[string]any{"command": "argocd-k8s-auth", "args": []string{"azure"}, "apiVersion": version, "env": map[string]string{
			"AAD_LOGIN_METHOD": "spn", "AZURE_AUTHORITY_HOST": address, "AZURE_TENANT_ID": "tenant",
			"AAD_SERVICE_PRINCIPAL_CLIENT_ID": "deployer", "AAD_SERVICE_PRINCIPAL_CLIENT_SECRET": "s3cret,azure",
		}}},
	}
	for name, config := range forms {
		var authorize func(*http.Request) bool
		if name == "cloud-eks" {
			authorize = f.eks
		}
		p := f.door(authorize)
		f.register(name, p.URL(), tlsOf(p, config), nil)
		f.deploy(name, config1)
	}
	head, err := f.rig.Repo.Git("rev-parse", "HEAD")
	must(f.T, err)
	for name := range forms {
		good(f.T, f.rig, name, strings.TrimSpace(head))
	}
	for name, want := range map[string]string{"cloud-gke": "system:serviceaccount:default:gke", "cloud-aks": "system:serviceaccount:default:aks"} {
		if got := f.writers(name); !slices.Equal(got, []string{want}) {
			f.Errorf("%s was written by %v", name, got)
		}
	}
}

// eks admits who brings a request of the role to STS, signed for the cluster.
func (f *forms) eks(r *http.Request) bool {
	encoded, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer k8s-aws-v1.")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	u, broken := url.Parse(string(raw))
	if !ok || err != nil || broken != nil {
		return false
	}
	q := u.Query()
	return q.Get("Action") == "GetCallerIdentity" && q.Get("X-Amz-Security-Token") == "of-the-role" && q.Get("X-Amz-SignedHeaders") == "host;x-k8s-aws-id" && q.Get("X-Amz-Signature") != ""
}

const (
	rightsSecret  = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: hidden}\nstringData: {a: b}\n"
	rightsService = "---\napiVersion: v1\nkind: Service\nmetadata: {name: door}\nspec: {ports: [{port: 80}]}\n"
)

// limited is an account that sees config maps and Deployments, reads Secrets by
// name, and lists nothing else.
func (f *forms) limited(name string) string {
	f.Helper()
	token := f.account(name, name+"-unused")
	all := []string{"*"}
	_, err := f.core.RbacV1().ClusterRoles().Create(f.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "apps"}, Resources: []string{"configmaps", "namespaces", "deployments"}, Verbs: all},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "create", "patch", "delete"}},
	}}, metav1.CreateOptions{})
	must(f.T, err)
	_, err = f.core.RbacV1().ClusterRoleBindings().Create(f.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: "default"}}}, metav1.CreateOptions{})
	must(f.T, err)
	return token
}

// says waits until the conditions of an Application hold all texts, or with
// none until they are gone.
func (f *forms) says(name, sync string, texts ...string) {
	f.Helper()
	must(f.T, rig.Until(f.Context(), 90*time.Second, fmt.Sprintf("%s is %s and says %q", name, sync, texts), func(ctx context.Context) (bool, error) {
		app, err := get(ctx, f.rig, name)
		if err != nil {
			return false, err
		}
		text := fmt.Sprint(app.Status.Conditions)
		missing := slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(text, s) })
		if missing || len(texts) == 0 && len(app.Status.Conditions) > 0 || string(app.Status.Sync.Status) != sync {
			return false, fmt.Errorf("%s, %s", app.Status.Sync.Status, text)
		}
		return true, nil
	}))
}

// rights plays the settings of resource.respectRBAC.
func (f *forms) rights() {
	p := f.door(nil)
	f.register("rights", p.URL(), tlsOf(p, map[string]any{"bearerToken": f.limited("rights")}), nil)
	add := func(name, objects string) string {
		id := f.commit(name, objects)
		must(f.T, f.rig.Apply(f.Context(), strings.ReplaceAll(fmt.Sprintf(formApp, name, f.rig.Git.URL("gitops-fleet")), "destination: {name: "+name+",", "destination: {name: rights,"), &v1alpha1.Application{}))
		return id
	}
	add("rights-plain", config1)
	f.says("rights-plain", "Unknown", "objects of kind ReplicaSet cannot be listed", "forbidden")
	setting(f.T, f.rig, "resource.respectRBAC", "normal")
	f.says("rights-plain", "Synced")

	add("rights-secret", config1+rightsSecret)
	f.says("rights-secret", "Synced", "may not list Secret: 1 of the objects in Git are read one by one")
	if out, err := kubectl(f.T, f.rig, "one", "patch", "secret", "hidden", "-n", "rights-secret", "--type=merge", "-p", `{"data":{"a":"Yw=="}}`); err != nil {
		f.Fatal(out)
	}
	f.patched("rights-secret")
	prints(f.T, f.rig, "one", "b", "get", "secret", "hidden", "-n", "rights-secret", "-o", "go-template={{.data.a | base64decode}}")
	f.commit("rights-secret", config1)
	must(f.T, rig.Until(f.Context(), 40*time.Second, "what is named in the status is pruned", func(context.Context) (bool, error) {
		out, err := kubectl(f.T, f.rig, "one", "get", "secret", "hidden", "-n", "rights-secret", "--ignore-not-found", "-o", "name")
		return out == "" && err == nil, err
	}))
	f.says("rights-secret", "Synced")

	add("rights-service", config1+rightsService)
	f.says("rights-service", "Unknown", "Service/rights-service/door: may neither be listed nor read")
	add("rights-pods", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'x:v1'}]}}}\n")
	f.says("rights-pods", "Synced", "may not list Pod: pods that crash or cannot start do not count in the health of Deployment/web")

	setting(f.T, f.rig, "resource.respectRBAC", "strict")
	f.says("rights-pods", "Synced", "may not list Pod")
	f.says("rights-plain", "Synced")
	gateway := p.Add(chaos.Rule{
		Match: func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/configmaps")
		},
		Do: chaos.Refuse(http.StatusForbidden, metav1.StatusReasonForbidden, "the gateway is closed"),
	})
	p.Hang()
	f.says("rights-plain", "Unknown", "objects of kind ConfigMap cannot be listed", "the gateway is closed")
	f.says("rights-pods", "Synced", "may not list Pod")
	gateway()
	f.says("rights-plain", "Synced")
	setting(f.T, f.rig, "resource.respectRBAC", "")
	f.says("rights-plain", "Unknown", "objects of kind ReplicaSet cannot be listed")
}

// patched has an Application look again.
func (f *forms) patched(name string) {
	f.Helper()
	out, err := kubectl(f.T, f.rig, "hub", "annotate", "application", name, "-n", rig.Namespace, "--overwrite", "argocd.argoproj.io/refresh=normal")
	if err != nil {
		f.Fatal(out)
	}
}

// certificate is signed by the authority of the fleet for some time.
func (f *forms) certificate(user string, life time.Duration) (certificate, key []byte) {
	f.Helper()
	dir := filepath.Dir(filepath.Dir(f.one.Kubeconfig))
	block := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		must(f.T, err)
		b, _ := pem.Decode(raw)
		return b.Bytes
	}
	ca, err := x509.ParseCertificate(block("ca.crt"))
	must(f.T, err)
	signer, err := x509.ParseECPrivateKey(block("ca.key"))
	must(f.T, err)
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(f.T, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: user, Organization: []string{"system:masters"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(life), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, own.Public(), signer)
	must(f.T, err)
	keyDER, err := x509.MarshalECPrivateKey(own)
	must(f.T, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// certificates replaces certificates in the Secret and by a program, before and
// after they end, and never loses the connection.
func (f *forms) certificates() {
	static := func(user string, life time.Duration) map[string]any {
		certificate, key := f.certificate(user, life)
		return map[string]any{"tlsClientConfig": map[string]any{"caData": f.admin.CAData, "certData": certificate, "keyData": key}}
	}
	credential := os.Getenv("AUTHPLUGIN_CREDENTIAL")
	program := func(user string, life time.Duration, announced bool) {
		certificate, key := f.certificate(user, life)
		status := map[string]any{"clientCertificateData": string(certificate), "clientKeyData": string(key)}
		if announced {
			status["expirationTimestamp"] = time.Now().Add(life).UTC().Format(time.RFC3339)
		}
		raw, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
		must(f.T, err)
		must(f.T, os.WriteFile(credential+".new", raw, 0o600))
		must(f.T, os.Rename(credential+".new", credential))
	}
	step := 0
	deliver := func(user string) {
		f.Helper()
		step++
		id := f.commit("certificates", config(fmt.Sprint(step)))
		if step == 1 {
			must(f.T, f.rig.Apply(f.Context(), strings.ReplaceAll(fmt.Sprintf(formApp, "certificates", f.rig.Git.URL("gitops-fleet")), "{name: certificates, namespace", "{name: one, namespace"), &v1alpha1.Application{}))
		}
		good(f.T, f.rig, "certificates", id)
		if got := f.writers("certificates"); got[len(got)-1] != user {
			f.Errorf("step %d was written by %v, want %s at the end", step, got, user)
		}
	}
	f.secret("one", static("cert-first", time.Hour))
	f.until("cert-first")
	deliver("cert-first")
	lost := f.watchHealth("certificates")
	f.secret("one", static("cert-second", time.Hour))
	f.until("cert-second")
	deliver("cert-second")
	const short = 8 * time.Second
	program("cert-third", short, true)
	f.secret("one", map[string]any{"tlsClientConfig": map[string]any{"caData": f.admin.CAData}, "execProviderConfig": map[string]any{"command": f.plugin, "apiVersion": "client.authentication.k8s.io/v1"}})
	f.until("cert-third")
	deliver("cert-third")
	program("cert-fourth", 3*short, false) // taken when the one before ends
	f.until("cert-fourth")
	deliver("cert-fourth")
	program("cert-fifth", time.Hour, false) // taken when the API server refuses the one before
	f.until("cert-fifth")
	deliver("cert-fifth")
	if text := lost(); text != "" {
		f.Errorf("the connection was lost: %s", text)
	}
}

// until waits for a request of our controller in the name of a user.
func (f *forms) until(user string) {
	f.Helper()
	must(f.T, rig.Until(f.Context(), 40*time.Second, "requests of "+user, func(context.Context) (bool, error) {
		lines, err := f.one.AuditLines()
		return slices.ContainsFunc(lines, func(a fleet.Audit) bool { return ours(a) && a.User.Username == user }), err
	}))
}

// watchHealth follows an Application; the function returned ends that and says
// when nothing was known of it.
func (f *forms) watchHealth(name string) func() string {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	done := make(chan string, 1)
	go func() {
		found := ""
		ticks := time.NewTicker(50 * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				done <- found
				return
			case <-ticks.C:
			}
			if app, err := get(ctx, f.rig, name); err == nil && app.Status.Sync.Status == v1alpha1.SyncStatusUnknown {
				found = fmt.Sprint(app.Status.Conditions)
			}
		}
	}()
	return func() string { cancel(); return <-done }
}
