package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// restConfig builds the connection settings of a cluster; hub is used for the
// in-cluster address.
func restConfig(c destination.Cluster, hub *rest.Config) (*rest.Config, error) {
	var in destination.Credentials
	if len(c.Config) > 0 {
		if err := json.Unmarshal(c.Config, &in); err != nil {
			return nil, fmt.Errorf("Secret/%s: key \"config\" is not valid JSON: correct it", c.SecretName) //nolint:staticcheck // names an object
		}
	}
	var out *rest.Config
	if c.Server == destination.InClusterServer && hub != nil {
		out = rest.CopyConfig(hub)
	} else {
		out = &rest.Config{Host: c.Server, TLSClientConfig: rest.TLSClientConfig{
			Insecure: in.TLSClientConfig.Insecure, ServerName: in.TLSClientConfig.ServerName,
			CAData: in.TLSClientConfig.CAData, CertData: in.TLSClientConfig.CertData, KeyData: in.TLSClientConfig.KeyData,
		}}
	}
	if in.TLSClientConfig.Contradicts() {
		return nil, fmt.Errorf("Secret/%s: key \"config\", field tlsClientConfig: insecure and caData exclude each other: remove one", c.SecretName) //nolint:staticcheck // names an object
	}
	login(out, &in)
	if in.ProxyURL != "" {
		proxy, err := url.Parse(in.ProxyURL)
		if err != nil {
			return nil, fmt.Errorf("Secret/%s: key \"config\", field proxyUrl is not a URL", c.SecretName) //nolint:staticcheck // names an object
		}
		out.Proxy = http.ProxyURL(proxy)
	}
	out.DisableCompression = in.DisableCompression
	out.Wrap(impersonating)
	out.QPS, out.Burst, out.UserAgent = -1, 0, "argocd-application-controller"
	return out, nil
}

// login chooses one form of credentials: awsAuthConfig, execProviderConfig,
// token, user and password, or the certificate that out has (spec/config.md
// §6.1). What another form left in out is taken away.
func login(out *rest.Config, in *destination.Credentials) {
	e := in.Program()
	if e == nil && in.BearerToken == "" && in.Username == "" {
		return
	}
	out.Username, out.Password, out.BearerToken, out.BearerTokenFile, out.ExecProvider, out.AuthProvider = "", "", "", "", nil, nil
	out.CertData, out.CertFile, out.KeyData, out.KeyFile = nil, "", nil, ""
	switch {
	case e != nil:
		out.ExecProvider = provider(e)
	case in.BearerToken != "":
		out.BearerToken = in.BearerToken
	default:
		out.Username, out.Password = in.Username, in.Password
	}
}

// The program that gets tokens from clouds, and the command of this program
// that is the same.
const (
	LoginProgram = destination.LoginProgram
	LoginCommand = "k8s-auth"
)

// shipped runs this program when argocd-k8s-auth is asked for and none is
// installed.
func shipped(command string, args []string) (string, []string) {
	if command != LoginProgram {
		return command, args
	}
	if _, err := exec.LookPath(command); err == nil {
		return command, args
	}
	self, err := os.Executable()
	if err != nil {
		return command, args // whoever runs it says that there is none
	}
	return self, append([]string{LoginCommand}, args...)
}

func provider(e *destination.Program) *clientcmdapi.ExecConfig {
	command, args := shipped(e.Command, e.Args)
	p := &clientcmdapi.ExecConfig{
		Command: command, Args: args, APIVersion: e.APIVersion, InstallHint: e.InstallHint,
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode, ProvideClusterInfo: e.ProvideClusterInfo,
	}
	if len(e.Config) > 0 {
		p.Config = &runtime.Unknown{Raw: e.Config, ContentType: runtime.ContentTypeJSON}
	}
	for _, k := range slices.Sorted(maps.Keys(e.Env)) {
		p.Env = append(p.Env, clientcmdapi.ExecEnvVar{Name: k, Value: e.Env[k]})
	}
	return p
}

// Times of a connection.
const (
	requestTimeout   = 5 * time.Second
	listTimeout      = 30 * time.Second
	schemaTimeout    = 15 * time.Second
	discoveryTimeout = 32 * time.Second
	heartbeatPause   = 2 * time.Second
	heartbeatTimeout = 4 * time.Second
)
