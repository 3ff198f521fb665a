package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd/api"
)

// with registers the target through a kubeconfig that the case changes, checks
// what the hub has, and takes it away again.
func (a *adding) with(name string, change func(*api.Cluster, *api.AuthInfo), check func(*corev1.Secret, secretConfig)) {
	a.Helper()
	k := a.kubeconfig(name, change)
	out, said, code := a.sluice("cluster", "add", name, "--kubeconfig", k, "-y")
	if code != 0 {
		a.Errorf("%s: exit code %d: %s%s", name, code, out, said)
		return
	}
	a.made(whole...)
	secret, c := a.registered(name)
	if c.BearerToken == "" || c.Username != "" || len(c.TLS.CertData) > 0 || len(c.Exec) > 0 {
		a.Errorf("%s: the hub has credentials of the kubeconfig", name)
	}
	a.lacks(out+said, c.BearerToken, "s3cret")
	if check != nil {
		check(secret, c)
	}
	a.removes(name, k)
}

// byCertificate uses client certificates as data and as files beside the
// kubeconfig.
func (a *adding) byCertificate() {
	a.with("cert-data", nil, nil)
	for name, content := range map[string][]byte{"me.crt": a.admin.CertData, "me.key": a.admin.KeyData, "ca.crt": a.admin.CAData} {
		must(a.T, os.WriteFile(filepath.Join(a.dir, name), content, 0o600))
	}
	a.with("cert-files", func(c *api.Cluster, u *api.AuthInfo) {
		*u = api.AuthInfo{ClientCertificate: "me.crt", ClientKey: "me.key"}
		c.CertificateAuthorityData, c.CertificateAuthority = nil, "ca.crt"
	}, func(_ *corev1.Secret, c secretConfig) {
		if string(c.TLS.CAData) != string(a.admin.CAData) {
			a.Error("the file of the authority is not registered as data")
		}
	})
	a.fails(20, []string{"context gone", "gone.crt"}, "cluster", "add", "gone", "--kubeconfig", a.kubeconfig("gone", func(_ *api.Cluster, u *api.AuthInfo) {
		*u = api.AuthInfo{ClientCertificate: "gone.crt", ClientKey: "me.key"}
	}))
}

// byToken uses tokens, files with tokens, programs that print tokens.
func (a *adding) byToken() {
	token := a.account("add-person")
	part := *a
	part.before = a.inventory()
	must(a.T, os.WriteFile(filepath.Join(a.dir, "token"), []byte(token), 0o600))
	part.with("by-token", func(_ *api.Cluster, u *api.AuthInfo) { *u = api.AuthInfo{Token: token} }, nil)
	part.with("by-token-file", func(_ *api.Cluster, u *api.AuthInfo) { *u = api.AuthInfo{TokenFile: "token"} }, nil)
	part.with("by-program", func(_ *api.Cluster, u *api.AuthInfo) { *u = api.AuthInfo{Exec: a.authPlugin()} }, nil)
	part.with("by-impersonation", func(_ *api.Cluster, u *api.AuthInfo) { u.Impersonate = "system:serviceaccount:default:add-person" }, nil)
	lines, err := a.one.AuditLines()
	must(a.T, err)
	acted := false
	for _, l := range lines {
		acted = acted || l.Impersonated.Username == "system:serviceaccount:default:add-person" && l.Verb == "create" && l.ObjectRef.Resource == "serviceaccounts" && l.ObjectRef.Name == "argocd-manager"
	}
	if !acted {
		a.Error("the ServiceAccount was not made in the name of the one who is impersonated")
	}
	must(a.T, a.core.RbacV1().ClusterRoleBindings().Delete(a.Context(), "add-person", metav1.DeleteOptions{}))
}

// byOtherWays reaches the target without checking it, by another name, and
// through a proxy; the hub goes the same way.
func (a *adding) byOtherWays() {
	basic := a.door(basicOrToken)
	a.with("by-password", func(c *api.Cluster, u *api.AuthInfo) {
		c.Server, c.CertificateAuthorityData = basic.URL(), basic.CA()
		*u = api.AuthInfo{Username: "admin", Password: "s3cret,word"}
	}, nil)
	a.with("unverified", func(c *api.Cluster, _ *api.AuthInfo) {
		c.CertificateAuthorityData, c.InsecureSkipTLSVerify = nil, true
	}, func(_ *corev1.Secret, c secretConfig) {
		if !c.TLS.Insecure || len(c.TLS.CAData) > 0 {
			a.Errorf("registered with TLS %v", c.TLS)
		}
		a.syncs("unverified")
	})
	a.with("other-name", func(c *api.Cluster, _ *api.AuthInfo) { c.TLSServerName = "kubernetes.default" }, func(_ *corev1.Secret, c secretConfig) {
		if c.TLS.ServerName != "kubernetes.default" {
			a.Errorf("registered with TLS name %q", c.TLS.ServerName)
		}
		a.syncs("other-name")
	})
	a.fails(20, []string{"certificate is valid for"}, "cluster", "add", "wrong-name", "--kubeconfig", a.kubeconfig("wrong-name", func(c *api.Cluster, _ *api.AuthInfo) { c.TLSServerName = "elsewhere" }))
	var tunnels atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := proxyAuth(r); r.Method != http.MethodConnect || user != "gate" || password != "s3cret,gate" {
			w.Header().Set("Proxy-Authenticate", "Basic")
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		tunnel(w, r.Host)
		tunnels.Add(1)
	}))
	a.Cleanup(proxy.Close)
	address := strings.Replace(proxy.URL, "http://", "http://gate:s3cret,gate@", 1)
	a.with("by-proxy", func(c *api.Cluster, _ *api.AuthInfo) { c.ProxyURL = address }, func(_ *corev1.Secret, c secretConfig) {
		if c.ProxyURL != address {
			a.Error("the registration has another proxy")
		}
		a.syncs("by-proxy")
		if n := tunnels.Load(); n < 3 { // of the command line, of the server that tests the registration, of the controller
			a.Errorf("%d tunnels: somebody does not go through the proxy", n)
		}
	})
	a.fails(1, []string{"--proxy-url is no URL of a proxy"}, "cluster", "add", "by-proxy", "--kubeconfig", filepath.Join(a.dir, "by-proxy.kubeconfig"), "--proxy-url", "ftp://x")
}

// byAddress takes the address of the hub's network from the target itself.
func (a *adding) byAddress() {
	k := a.kubeconfig("by-address", func(c *api.Cluster, _ *api.AuthInfo) { c.TLSServerName = "kubernetes" })
	add := []string{"cluster", "add", "by-address", "--kubeconfig", k, "--cluster-endpoint", "kube-public"}
	a.fails(20, []string{"ConfigMap kube-public/cluster-info"}, add...)
	inside := a.door(nil)
	_, err := a.core.CoreV1().ConfigMaps("kube-public").Create(a.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cluster-info"}, Data: map[string]string{
		"kubeconfig": fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: '', cluster: {server: %q, certificate-authority-data: %s}}]\n", inside.URL(), base64.StdEncoding.EncodeToString(inside.CA())),
	}}, metav1.CreateOptions{})
	must(a.T, err)
	a.runs([]string{"Cluster '" + inside.URL() + "' added"}, add...)
	if _, c := a.registered("by-address"); c.TLS.ServerName != "" || string(c.TLS.CAData) != string(inside.CA()) {
		a.Errorf("registered with TLS %v", c.TLS)
	}
	a.syncs("by-address")
	a.removes("by-address", k)
	a.fails(1, []string{"is not known: use kubeconfig, kube-public or internal"}, "cluster", "add", "by-address", "--kubeconfig", k, "--cluster-endpoint", "nowhere")
}

// refusals end before anything is written, and say what to do.
func (a *adding) refusals() {
	add := func(name string, change func(*api.Cluster, *api.AuthInfo)) []string {
		return []string{"cluster", "add", name, "--kubeconfig", a.kubeconfig(name, change), "--logformat", "text"}
	}
	for _, provider := range []string{"gcp", "azure", "openstack"} {
		a.fails(20, []string{"auth-provider", provider, "Kubernetes no longer has"}, add("old-"+provider, func(_ *api.Cluster, u *api.AuthInfo) {
			*u = api.AuthInfo{AuthProvider: &api.AuthProviderConfig{Name: provider, Config: map[string]string{"access-token": "s3cret"}}}
		})...)
	}
	a.fails(20, []string{"does not take the credentials of user"}, add("stale", func(_ *api.Cluster, u *api.AuthInfo) { *u = api.AuthInfo{Token: "s3cret-that-ended"} })...)
	a.fails(20, []string{"no-such-program", "ask the platform team"}, add("absent", func(_ *api.Cluster, u *api.AuthInfo) {
		*u = api.AuthInfo{Exec: &api.ExecConfig{Command: "no-such-program", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: api.NeverExecInteractiveMode, InstallHint: "ask the platform team"}}
	})...)
	a.fails(20, []string{"cannot", "forbidden"}, add("weak", func(_ *api.Cluster, u *api.AuthInfo) { u.Impersonate = "somebody-without-rights" })...)
	good := a.kubeconfig("good", nil)
	a.fails(1, []string{"--label", "no label"}, "cluster", "add", "good", "--kubeconfig", good, "--label", "no label=x")
	a.fails(1, []string{"the value is none of a label"}, "cluster", "add", "good", "--kubeconfig", good, "--label", "env=a b")
	a.fails(20, []string{"server address unspecified"}, "cluster", "add", "good", "--kubeconfig", good, "--config", filepath.Join(a.dir, "no-such-config"))
	a.fails(1, []string{"Choose a context name from"}, "cluster", "add", "--kubeconfig", good)
	if all := a.inventory(); !slices.Equal(all, a.before) {
		a.Errorf("on the target are %q", all)
	}
}
