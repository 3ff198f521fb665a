package registration_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-cd/sluice/internal/cli/registration"
	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// stored is a declaration as an API server keeps it.
func stored(s *corev1.Secret) *corev1.Secret {
	out := s.DeepCopy()
	out.Data = map[string][]byte{}
	for k, v := range s.StringData {
		out.Data[k] = []byte(v)
	}
	out.StringData = nil
	return out
}

func TestAClusterIsReadAsItWasDeclared(t *testing.T) {
	t.Parallel()
	want := &registration.Cluster{
		Name: "prod", Server: "https://prod.example.com:6443", Project: "team", Namespaces: []string{"a", "b"}, ClusterResources: true, Shard: "2",
		Labels: map[string]string{"env": "prod", "argocd.argoproj.io/secret-type": "repository"}, Annotations: map[string]string{"owner": "web"},
		Config: destination.Credentials{BearerToken: "t", TLSClientConfig: destination.TLS{ServerName: "x", CAData: []byte("ca")}, ProxyURL: "http://proxy"},
	}
	s, err := want.Secret()
	if err != nil {
		t.Fatal(err)
	}
	if s.Labels["argocd.argoproj.io/secret-type"] != "cluster" {
		t.Errorf("a label made it a Secret of type %s", s.Labels["argocd.argoproj.io/secret-type"])
	}
	got, err := registration.ClusterOf(stored(s))
	if err != nil {
		t.Fatal(err)
	}
	want.Labels["argocd.argoproj.io/secret-type"], want.Annotations["managed-by"] = "cluster", "argocd.argoproj.io"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestClusterErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	s := &corev1.Secret{Data: map[string][]byte{"server": []byte("https://x"), "config": []byte(`{"bearerToken": t0ken}`)}}
	s.Name = "broken"
	if _, err := registration.ClusterOf(s); err == nil || !strings.Contains(err.Error(), "broken") || strings.Contains(err.Error(), "t0ken") {
		t.Errorf("a config that is no JSON: %v", err)
	}
	delete(s.Data, "server")
	if _, err := registration.ClusterOf(s); err == nil || !strings.Contains(err.Error(), "key server is empty") {
		t.Errorf("no server: %v", err)
	}
	c := registration.Cluster{Name: "c", Config: destination.Credentials{TLSClientConfig: destination.TLS{Insecure: true, CAData: []byte("ca")}}}
	if _, err := c.Kubeconfig(); err == nil || !strings.Contains(err.Error(), "exclude one another") {
		t.Errorf("insecure with an authority: %v", err)
	}
}

var kubeconfigs = map[string]struct {
	config destination.Credentials
	want   string
}{
	"token": {destination.Credentials{BearerToken: "t", TLSClientConfig: destination.TLS{CAData: []byte("ca")}, ProxyURL: "http://proxy:1"}, `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    proxy-url: http://proxy:1
    server: https://prod
  name: prod
contexts:
- context:
    cluster: prod
    user: prod
  name: prod
current-context: prod
kind: Config
users:
- name: prod
  user:
    token: t
`},
	"certificate": {destination.Credentials{TLSClientConfig: destination.TLS{Insecure: true, CertData: []byte("c"), KeyData: []byte("k")}}, `apiVersion: v1
clusters:
- cluster:
    insecure-skip-tls-verify: true
    server: https://prod
  name: prod
contexts:
- context:
    cluster: prod
    user: prod
  name: prod
current-context: prod
kind: Config
users:
- name: prod
  user:
    client-certificate-data: Yw==
    client-key-data: aw==
`},
	"AWS before a program": {destination.Credentials{BearerToken: "t", AWSAuthConfig: &destination.AWS{ClusterName: "eks", Profile: "p"}, ExecProviderConfig: &destination.Program{Command: "x"}}, `apiVersion: v1
clusters:
- cluster:
    server: https://prod
  name: prod
contexts:
- context:
    cluster: prod
    user: prod
  name: prod
current-context: prod
kind: Config
users:
- name: prod
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      args:
      - aws
      - --cluster-name
      - eks
      - --profile
      - p
      command: argocd-k8s-auth
      env: null
      interactiveMode: Never
      provideClusterInfo: false
`},
}

func TestKubeconfig(t *testing.T) {
	t.Parallel()
	for name, c := range kubeconfigs {
		cluster := registration.Cluster{Name: "prod", Server: "https://prod", Config: c.config}
		cfg, err := cluster.Kubeconfig()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := clientcmd.Write(*cfg)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, string(raw)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
