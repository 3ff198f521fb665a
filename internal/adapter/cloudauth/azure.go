package cloudauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Environment looks up a variable; os.LookupEnv does.
type Environment func(name string) (string, bool)

// first gives the first variable that is set to something.
func (e Environment) first(names ...string) string {
	for _, n := range names {
		if v, ok := e(n); ok && v != "" {
			return v
		}
	}
	return ""
}

// Ways to log in that need nobody at a keyboard (AAD_LOGIN_METHOD).
const (
	workloadIdentity = "workloadidentity"
	servicePrincipal = "spn"
	managedIdentity  = "msi"
	ownerPassword    = "ropc"
)

// aksServer is the application that stands for all AKS clusters.
const aksServer = "6dae42f8-4368-4678-94ff-3960e28e3630"

// assertionType says that a JWT stands in for a client's secret.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authorities of the clouds, by AAD_ENVIRONMENT_NAME.
var authorities = map[string]string{
	"":                  "https://login.microsoftonline.com/",
	"AZUREPUBLICCLOUD":  "https://login.microsoftonline.com/",
	"AZURECHINACLOUD":   "https://login.chinacloudapi.cn/",
	"AZUREUSGOVERNMENT": "https://login.microsoftonline.us/",
	// the name that kubelogin gives to the one above
	"AZUREUSGOVERNMENTCLOUD": "https://login.microsoftonline.us/",
}

var tenantForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$`)

// login is one attempt to log in at Azure.
type login struct {
	env Environment
	now time.Time
	// server is the application the token is for.
	server string
}

// Azure gets an access token for AKS. The variables are those of kubelogin,
// which existing cluster Secrets set: AAD_LOGIN_METHOD chooses the way; without
// it a federated token file means workloadidentity, and a secret or certificate
// of a client means spn.
func Azure(ctx context.Context, env Environment, now time.Time) (Token, error) {
	l := login{env: env, now: now, server: env.first("AAD_SERVER_APPLICATION_ID")}
	if l.server == "" {
		l.server = aksServer
	}
	method := strings.ToLower(env.first("AAD_LOGIN_METHOD"))
	if method == "" {
		method = l.guess()
	}
	var t *oauth2.Token
	var err error
	switch method {
	case workloadIdentity:
		t, err = l.federated(ctx)
	case servicePrincipal:
		t, err = l.principal(ctx)
	case managedIdentity:
		t, err = l.managed(ctx)
	case ownerPassword:
		t, err = l.password(ctx)
	default:
		return Token{}, fmt.Errorf("azure: AAD_LOGIN_METHOD is %q: want %s, %s, %s or %s; others need a person or another program", method, workloadIdentity, servicePrincipal, managedIdentity, ownerPassword)
	}
	if err != nil {
		return Token{}, fmt.Errorf("azure: %s: %w", method, brief(err))
	}
	return Token{Value: t.AccessToken, Expires: t.Expiry}, nil
}

func (l login) guess() string {
	switch {
	case l.env.first("AZURE_FEDERATED_TOKEN_FILE") != "":
		return workloadIdentity
	case l.secret() != "" || l.certificate() != "":
		return servicePrincipal
	}
	return ""
}

func (l login) client() string {
	return l.env.first("AZURE_CLIENT_ID", "AAD_SERVICE_PRINCIPAL_CLIENT_ID")
}

func (l login) secret() string {
	return l.env.first("AZURE_CLIENT_SECRET", "AAD_SERVICE_PRINCIPAL_CLIENT_SECRET")
}

func (l login) certificate() string {
	return l.env.first("AZURE_CLIENT_CERTIFICATE_PATH", "AAD_SERVICE_PRINCIPAL_CLIENT_CERTIFICATE")
}

// tokenURL is where the tenant gives tokens.
func (l login) tokenURL() (string, error) {
	authority := l.env.first("AZURE_AUTHORITY_HOST")
	if authority == "" {
		name := l.env.first("AAD_ENVIRONMENT_NAME", "AZURE_ENVIRONMENT")
		known, ok := authorities[strings.ToUpper(name)]
		if !ok {
			return "", fmt.Errorf("AAD_ENVIRONMENT_NAME %q is not known: set AZURE_AUTHORITY_HOST", name)
		}
		authority = known
	}
	u, err := url.Parse(authority)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return "", errors.New("AZURE_AUTHORITY_HOST is not an https:// address")
	}
	tenant := l.env.first("AZURE_TENANT_ID", "AAD_TENANT_ID")
	if !tenantForm.MatchString(tenant) {
		return "", errors.New("AZURE_TENANT_ID is not the id or domain of a tenant")
	}
	return u.JoinPath(tenant, "oauth2", "v2.0", "token").String(), nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// credentials asks for a token in the name of the client itself.
func (l login) credentials(ctx context.Context, secret string, more func(tokenURL string) (url.Values, error)) (*oauth2.Token, error) {
	address, err := l.tokenURL()
	if err != nil {
		return nil, err
	}
	if l.client() == "" {
		return nil, errors.New("AZURE_CLIENT_ID is not set")
	}
	var values url.Values
	if more != nil {
		if values, err = more(address); err != nil {
			return nil, err
		}
	}
	c := clientcredentials.Config{
		ClientID: l.client(), ClientSecret: secret, TokenURL: address, Scopes: []string{l.server + "/.default"},
		EndpointParams: values, AuthStyle: oauth2.AuthStyleInParams,
	}
	return c.Token(ctx)
}

// maxAssertion bounds the file of a federated token.
const maxAssertion = 64 << 10

// federated exchanges the token that Kubernetes put into the pod.
func (l login) federated(ctx context.Context) (*oauth2.Token, error) {
	file := l.env.first("AZURE_FEDERATED_TOKEN_FILE")
	if file == "" {
		return nil, errors.New("AZURE_FEDERATED_TOKEN_FILE is not set: label the pod azure.workload.identity/use=true")
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("AZURE_FEDERATED_TOKEN_FILE: %w", err)
	}
	if len(raw) > maxAssertion {
		return nil, errors.New("AZURE_FEDERATED_TOKEN_FILE is no token: too large")
	}
	return l.credentials(ctx, "", func(string) (url.Values, error) {
		return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {strings.TrimSpace(string(raw))}}, nil
	})
}

// principal logs a service principal in, with its secret or certificate.
func (l login) principal(ctx context.Context) (*oauth2.Token, error) {
	if secret := l.secret(); secret != "" {
		return l.credentials(ctx, secret, nil)
	}
	file := l.certificate()
	if file == "" {
		return nil, errors.New("neither AAD_SERVICE_PRINCIPAL_CLIENT_SECRET nor AAD_SERVICE_PRINCIPAL_CLIENT_CERTIFICATE is set")
	}
	return l.credentials(ctx, "", func(address string) (url.Values, error) {
		signed, err := assertion(file, l.env.first("AZURE_CLIENT_CERTIFICATE_PASSWORD", "AAD_SERVICE_PRINCIPAL_CLIENT_CERTIFICATE_PASSWORD"), l.client(), address, l.now)
		return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {signed}}, err
	})
}

// password logs a user in, who must not have a second factor.
func (l login) password(ctx context.Context) (*oauth2.Token, error) {
	address, err := l.tokenURL()
	if err != nil {
		return nil, err
	}
	user := l.env.first("AZURE_USERNAME", "AAD_USER_PRINCIPAL_NAME")
	if user == "" || l.client() == "" {
		return nil, errors.New("AAD_USER_PRINCIPAL_NAME or AZURE_CLIENT_ID is not set")
	}
	c := oauth2.Config{
		ClientID: l.client(), ClientSecret: l.secret(), Scopes: []string{l.server + "/.default"},
		Endpoint: oauth2.Endpoint{TokenURL: address, AuthStyle: oauth2.AuthStyleInParams},
	}
	return c.PasswordCredentialsToken(ctx, user, l.env.first("AZURE_PASSWORD", "AAD_USER_PRINCIPAL_PASSWORD"))
}

// instanceMetadata is where a machine of Azure learns of itself.
const instanceMetadata = "http://169.254.169.254/"

// managed asks the machine for the token of its identity.
func (l login) managed(ctx context.Context) (*oauth2.Token, error) {
	base := l.env.first("AZURE_POD_IDENTITY_AUTHORITY_HOST")
	if base == "" {
		base = instanceMetadata
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("AZURE_POD_IDENTITY_AUTHORITY_HOST is not an address")
	}
	u = u.JoinPath("metadata", "identity", "oauth2", "token")
	query := url.Values{"api-version": {"2018-02-01"}, "resource": {l.server}}
	if id := l.env.first("AZURE_CLIENT_ID"); id != "" {
		query.Set("client_id", id)
	}
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Metadata", "true")
	return ask(r, l.now)
}
