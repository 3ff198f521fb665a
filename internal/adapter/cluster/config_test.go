package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// carried words which credentials a configuration carries.
func carried(c *rest.Config) string {
	var out []string
	add := func(name, value string) {
		if value != "" {
			out = append(out, name+"="+value)
		}
	}
	add("token", c.BearerToken)
	add("tokenFile", c.BearerTokenFile)
	add("user", c.Username)
	add("password", c.Password)
	add("cert", string(c.CertData)+c.CertFile)
	add("key", string(c.KeyData)+c.KeyFile)
	if e := c.ExecProvider; e != nil {
		add("exec", e.Command+" "+strings.Join(e.Args, " "))
		for _, v := range e.Env {
			add("env."+v.Name, v.Value)
		}
		if e.InteractiveMode != clientcmdapi.NeverExecInteractiveMode {
			add("interactive", string(e.InteractiveMode))
		}
	}
	return strings.Join(out, " ")
}

func TestCredentials(t *testing.T) {
	hub := &rest.Config{Host: "https://hub", BearerTokenFile: "/pod/token", TLSClientConfig: rest.TLSClientConfig{CertFile: "/hub.crt", KeyFile: "/hub.key", CAFile: "/ca"}}
	const certificate = `"tlsClientConfig": {"certData": "Y2VydA==", "keyData": "a2V5"}`
	const far = "https://far"
	t.Setenv("PATH", t.TempDir())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct{ name, server, config, want string }{
		{"nothing", far, ``, ""},
		{"certificate", far, `{` + certificate + `}`, "cert=cert key=key"},
		{"token", far, `{"bearerToken": "t"}`, "token=t"},
		{"token before certificate", far, `{"bearerToken": "t", ` + certificate + `}`, "token=t"},
		{"user and password", far, `{"username": "u", "password": "p"}`, "user=u password=p"},
		{"token before user", far, `{"username": "u", "password": "p", "bearerToken": "t"}`, "token=t"},
		{"program before token", far, `{"bearerToken": "t", "execProviderConfig": {"command": "c", "args": ["a"], "env": {"B": "2", "A": "1"}}}`, "exec=c a env.A=1 env.B=2"},
		{"aws before program", far, `{"execProviderConfig": {"command": "c"}, "awsAuthConfig": {"clusterName": "n", "roleARN": "r", "profile": "p"}}`,
			"exec=" + self + " k8s-auth aws --cluster-name n --role-arn r --profile p"},
		{"program that is shipped", far, `{"execProviderConfig": {"command": "argocd-k8s-auth", "args": ["gcp"]}}`, "exec=" + self + " k8s-auth gcp"},
		{"hub as it is", destination.InClusterServer, ``, "tokenFile=/pod/token cert=/hub.crt key=/hub.key"},
		{"hub ignores certificates", destination.InClusterServer, `{` + certificate + `}`, "tokenFile=/pod/token cert=/hub.crt key=/hub.key"},
		{"hub with a token", destination.InClusterServer, `{"bearerToken": "t"}`, "token=t"},
		{"hub with a program", destination.InClusterServer, `{"execProviderConfig": {"command": "c"}}`, "exec=c "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := restConfig(destination.Cluster{Name: "x", Server: c.server, Config: []byte(c.config), SecretName: "x"}, hub)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(c.want), strings.TrimSpace(carried(got))); diff != "" {
				t.Error(diff)
			}
		})
	}
	installed := filepath.Join(os.Getenv("PATH"), LoginProgram)
	if err := os.WriteFile(installed, []byte("#!/bin/true\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := restConfig(destination.Cluster{Name: "x", Server: far, Config: []byte(`{"execProviderConfig": {"command": "argocd-k8s-auth", "args": ["gcp"]}}`)}, nil)
	if err != nil || carried(got) != "exec=argocd-k8s-auth gcp" {
		t.Errorf("one that is installed wins: %v, %v", carried(got), err)
	}
	if carried(hub) != "tokenFile=/pod/token cert=/hub.crt key=/hub.key" {
		t.Errorf("the hub's own configuration was changed: %s", carried(hub))
	}
}

func TestCredentialsThatCannotWork(t *testing.T) {
	for config, want := range map[string]string{
		`{`: "not valid JSON",
		`{"tlsClientConfig": {"insecure": true, "caData": "Y2E="}}`: "insecure and caData exclude each other",
		`{"proxyUrl": "http://secret:%zz@x"}`:                       "proxyUrl is not a URL",
	} {
		_, err := restConfig(destination.Cluster{Name: "x", Server: "https://far", Config: []byte(config), SecretName: "far"}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Secret/far") || strings.Contains(fmt.Sprint(err), "secret:") {
			t.Errorf("%s: error %v, want one with %q that names the Secret and nothing secret", config, err, want)
		}
	}
}
