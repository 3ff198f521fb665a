package connect

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/config"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// Tunnel is a way to a server that is no address: a port-forward, or an API in
// this process.
type Tunnel struct {
	// Address to ask, without TLS unless TLS is set.
	Address string
	TLS     bool
	// Transport, when the API is in this process.
	Transport http.RoundTripper
	// Namespace of the control plane, when known.
	Namespace string
	Close     func()
}

// Dialer makes connections as flags, environment and file say.
type Dialer struct {
	Flags
	Console *console.Console
	// Forward and InProcess open tunnels; nil where this program has none.
	Forward   func(ctx context.Context, f *Flags) (*Tunnel, error)
	InProcess func(ctx context.Context, f *Flags) (*Tunnel, error)
	// Redeem gives a fresh token for a refresh token of the issuer that the
	// server names.
	Redeem func(ctx context.Context, o client.Options, refresh string) (token, next string, err error)

	opened *client.Client
	tunnel *Tunnel
}

// names of servers that are no addresses.
const (
	// Kubernetes is the server and context name of core mode.
	Kubernetes = "kubernetes"
	// Forwarded is the server name of a port-forward.
	Forwarded = "port-forward"
)

// Local reads the configuration file; nil when there is none.
func (d *Dialer) Local() (*config.File, error) {
	path, err := d.Path(d.Console)
	if err != nil {
		return nil, err
	}
	return config.Read(path)
}

// Change changes the configuration file, while no other command does: see
// [config.Update].
func (d *Dialer) Change(ctx context.Context, change func(f *config.File) error) error {
	path, err := d.Path(d.Console)
	if err != nil {
		return err
	}
	return config.Update(ctx, path, change)
}

// Current is the context in use; nil when the file or the context is missing
// and nobody asked for one by name.
func (d *Dialer) Current() (*config.Context, error) {
	f, err := d.Local()
	if err != nil {
		return nil, err
	}
	return d.in(f)
}

// in is the context in use of a file, which may be nil.
func (d *Dialer) in(f *config.File) (*config.Context, error) {
	if f == nil {
		if d.Flags.Context != "" {
			return nil, fail.New("log in first: "+d.Console.Name+" login SERVER", "Context '%s' undefined", d.Flags.Context)
		}
		return nil, nil //nolint:nilnil // no context is no error
	}
	if d.Flags.Context == "" && f.CurrentContext == "" {
		return nil, nil //nolint:nilnil // no context is no error
	}
	return f.Resolve(d.Flags.Context)
}

// PromptsEnabled says whether optional questions are asked.
func (d *Dialer) PromptsEnabled() bool {
	if d.Given("prompts-enabled") {
		return d.Prompts
	}
	f, err := d.Local()
	return err == nil && f != nil && f.PromptsEnabled
}

// Options are those of the client that flags, environment and file ask for.
func (d *Dialer) Options() (client.Options, error) {
	o := client.Options{
		Insecure: d.Insecure, PlainText: d.PlainText, Headers: d.Headers, RootPath: d.RootPath, Retries: d.RetryMax,
		UserAgent: "argocd-client/" + agentVersion(d.Console.Build.Version), Clock: d.Console.Clock,
	}
	current, err := d.Current()
	if err != nil {
		return o, err
	}
	if current != nil {
		s := current.Server
		o.Server, o.Token = s.Server, current.User.AuthToken
		o.Insecure, o.PlainText = o.Insecure || s.Insecure, o.PlainText || s.PlainText
		o.RootPath = cmp.Or(o.RootPath, s.GRPCWebRootPath)
		o.CA, o.ClientCert, o.ClientKey = s.CertificateAuthorityData, s.ClientCertificateData, s.ClientCertificateKeyData
		if s.Core {
			o.Server = Kubernetes
		}
	}
	o.Server = cmp.Or(d.Flags.Server, d.Console.Getenv("ARGOCD_SERVER"), o.Server)
	o.Token = cmp.Or(strings.TrimSpace(d.AuthToken), d.Console.Getenv("ARGOCD_AUTH_TOKEN"), o.Token)
	return o, d.certificates(&o)
}

func (d *Dialer) certificates(o *client.Options) error {
	if (d.ClientCrt == "") != (d.ClientCrtKey == "") {
		return errors.New("--client-crt and --client-crt-key must always be specified together")
	}
	for _, f := range []struct {
		name string
		into *[]byte
	}{{d.ServerCrt, &o.CA}, {d.ClientCrt, &o.ClientCert}, {d.ClientCrtKey, &o.ClientKey}} {
		if f.name == "" {
			continue
		}
		raw, err := d.Console.ReadFile(f.name)
		if err != nil {
			return err
		}
		*f.into = raw
	}
	return nil
}

// agentVersion is the version as servers want to parse it: the official ones
// refuse clients older than 1.4.0 (spec/cli.md §1.4).
func agentVersion(version string) string {
	v := strings.TrimPrefix(version, "v")
	if v == "" || v[0] < '0' || v[0] > '9' || strings.Count(v, ".") < 2 {
		return "3.5.1"
	}
	return v
}

// Client is the connection; it is made once for each command.
func (d *Dialer) Client(ctx context.Context) (*client.Client, error) {
	if d.opened != nil {
		return d.opened, nil
	}
	o, err := d.Options()
	if err != nil {
		return nil, err
	}
	if err := d.route(ctx, &o); err != nil {
		return nil, err
	}
	if o.Server == "" {
		return nil, fail.New("log in with: "+d.Console.Name+" login SERVER, or give --server or ARGOCD_SERVER", "Argo CD server address unspecified")
	}
	if d.tunnel == nil {
		if o.Token, err = d.fresh(ctx, o); err != nil {
			return nil, err
		}
	}
	c, err := client.New(o)
	if err != nil {
		return nil, err
	}
	d.opened = c
	return c, nil
}

// Tunneled says that the way to the server is no address: core mode or a
// port-forward.
func (d *Dialer) Tunneled() bool {
	o, err := d.Options()
	if err != nil {
		return d.Core || d.PortForward
	}
	return d.Core || o.Server == Kubernetes && d.Flags.Server == "" ||
		d.Flags.Server == "" && (d.PortForward || d.PortForwardNamespace != "" || o.Server == Forwarded)
}

// route opens the tunnel that is asked for, if any.
func (d *Dialer) route(ctx context.Context, o *client.Options) error {
	var open func(context.Context, *Flags) (*Tunnel, error)
	switch {
	case d.Core || o.Server == Kubernetes && d.Flags.Server == "":
		if open = d.InProcess; open == nil {
			return fail.New("log in to a server with: "+d.Console.Name+" login SERVER", "--core: this program was built without an API of its own")
		}
	case d.PortForward || d.PortForwardNamespace != "" || o.Server == Forwarded:
		if d.Flags.Server != "" { // an address that is given wins (spec/cli.md §1.3)
			return nil
		}
		if open = d.Forward; open == nil {
			return fail.New("use: kubectl port-forward svc/argocd-server 8080:443, and --server localhost:8080", "--port-forward: this program was built without it")
		}
	default:
		return nil
	}
	tunnel, err := open(ctx, &d.Flags)
	if err != nil {
		return err
	}
	d.tunnel = tunnel
	o.Server, o.Transport, o.RootPath = tunnel.Address, tunnel.Transport, ""
	o.PlainText, o.Insecure = !tunnel.TLS, true
	return nil
}

// Namespace of the control plane, when the tunnel knows it.
func (d *Dialer) Namespace() string {
	if d.tunnel == nil {
		return ""
	}
	return d.tunnel.Namespace
}

// Close ends the tunnel.
func (d *Dialer) Close() {
	if d.tunnel != nil && d.tunnel.Close != nil {
		d.tunnel.Close()
	}
}

// Log writes a line of log to the error stream unless --loglevel hides it.
func (d *Dialer) Log(level, message string) {
	rank := map[string]int{"trace": 0, "debug": 0, "info": 1, "warn": 2, "warning": 2, "error": 3, "fatal": 4, "panic": 4}
	if rank[level] < rank[d.LogLevel] {
		return
	}
	fail.Log(d.Console.Err, d.Style(d.Console), level, message, d.Console.Clock.Now())
}
