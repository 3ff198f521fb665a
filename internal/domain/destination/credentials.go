package destination

import "encoding/json"

// Credentials are how a cluster is reached: the JSON under the key config of the
// Secret that declares it (spec/config.md §6.1). Data is base64 there.
type Credentials struct {
	Username           string   `json:"username,omitempty"`
	Password           string   `json:"password,omitempty"`
	BearerToken        string   `json:"bearerToken,omitempty"`
	TLSClientConfig    TLS      `json:"tlsClientConfig"`
	AWSAuthConfig      *AWS     `json:"awsAuthConfig,omitempty"`
	ExecProviderConfig *Program `json:"execProviderConfig,omitempty"`
	ProxyURL           string   `json:"proxyUrl,omitempty"`
	DisableCompression bool     `json:"disableCompression,omitempty"`
}

// TLS is how the certificate of a cluster is checked, and which one is shown.
type TLS struct {
	Insecure   bool   `json:"insecure"`
	ServerName string `json:"serverName,omitempty"`
	CertData   []byte `json:"certData,omitempty"`
	KeyData    []byte `json:"keyData,omitempty"`
	CAData     []byte `json:"caData,omitempty"`
}

// Contradicts says that an authority is named and no certificate checked.
func (t TLS) Contradicts() bool { return t.Insecure && len(t.CAData) > 0 }

// AWS is a cluster whose credentials AWS gives.
type AWS struct {
	ClusterName string `json:"clusterName,omitempty"`
	RoleARN     string `json:"roleARN,omitempty"`
	Profile     string `json:"profile,omitempty"`
}

// Program gives credentials when it runs.
type Program struct {
	Command     string            `json:"command,omitempty"`
	Args        []string          `json:"args,omitempty"`
	Env         map[string]string `json:"env,omitempty"`
	APIVersion  string            `json:"apiVersion,omitempty"`
	InstallHint string            `json:"installHint,omitempty"`
	// ProvideClusterInfo tells the program of the cluster, and Config with it.
	ProvideClusterInfo bool            `json:"provideClusterInfo,omitempty"`
	Config             json.RawMessage `json:"config,omitempty"`
}

// LoginProgram gets tokens from clouds.
const LoginProgram = "argocd-k8s-auth"

// loginVersion is the version of what LoginProgram prints.
const loginVersion = "client.authentication.k8s.io/v1beta1"

// Program is the one that gives the credentials, that of AWS before another; nil
// is none.
func (c *Credentials) Program() *Program {
	a := c.AWSAuthConfig
	if a == nil {
		return c.ExecProviderConfig
	}
	p := &Program{Command: LoginProgram, Args: []string{"aws", "--cluster-name", a.ClusterName}, APIVersion: loginVersion}
	if a.RoleARN != "" {
		p.Args = append(p.Args, "--role-arn", a.RoleARN)
	}
	if a.Profile != "" {
		p.Args = append(p.Args, "--profile", a.Profile)
	}
	return p
}
