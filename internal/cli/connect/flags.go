// Package connect turns flags, environment and the configuration file into a
// connection to a server (spec/cli.md §1.2 and §1.3):
//
//		context of the file  <  environment  <  ARGOCD_OPTS  <  flags
//
//	  - flags.go: the flags that every command has; options.go: ARGOCD_OPTS
//	  - dial.go: which server, which token, and the client for it
//	  - token.go: what a token says of itself; refresh.go: fresh ones from an issuer
package connect

import (
	"cmp"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/internal/cli/config"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// Flags are those that every command has.
type Flags struct {
	Config, Context, Server, AuthToken                                       string
	Insecure, PlainText, GRPCWeb, PortForward, Core, Prompts                 bool
	ServerCrt, ClientCrt, ClientCrtKey, RootPath                             string
	Headers                                                                  []string
	RetryMax                                                                 int
	PortForwardNamespace, KubeContext                                        string
	ServerName, ControllerName, RepoServerName, RedisName, RedisHA, Compress string
	LogFormat, LogLevel                                                      string

	// Kube is how core mode, port-forwards and the group admin find the hub.
	Kube Kube

	set *pflag.FlagSet
}

// Register adds the flags.
func (f *Flags) Register(fs *pflag.FlagSet, getenv func(string) string) {
	f.set = fs
	env := func(key, otherwise string) string { return cmp.Or(getenv(key), otherwise) }
	fs.StringVar(&f.Config, "config", "", "path to the configuration file")
	fs.StringVar(&f.Context, "argocd-context", "", "context of the configuration file to use for this call")
	fs.StringVar(&f.Server, "server", "", "address of the server; env ARGOCD_SERVER")
	fs.StringVar(&f.AuthToken, "auth-token", "", "token to show the server; env ARGOCD_AUTH_TOKEN")
	fs.BoolVar(&f.Insecure, "insecure", false, "take any certificate of the server")
	fs.BoolVar(&f.PlainText, "plaintext", false, "speak HTTP without TLS")
	fs.StringVar(&f.ServerCrt, "server-crt", "", "PEM file with a certificate authority to trust")
	fs.StringVar(&f.ClientCrt, "client-crt", "", "PEM file with a client certificate")
	fs.StringVar(&f.ClientCrtKey, "client-crt-key", "", "PEM file with the key of the client certificate")
	fs.BoolVar(&f.GRPCWeb, "grpc-web", false, "accepted: all calls are HTTP, which every proxy passes")
	fs.StringVar(&f.RootPath, "grpc-web-root-path", "", "path below which the server lives")
	fs.StringSliceVarP(&f.Headers, "header", "H", nil, "header 'K: V' to send with every request; may be repeated")
	fs.IntVar(&f.RetryMax, "http-retry-max", 0, "how often a request that changes nothing is tried again")
	fs.BoolVar(&f.PortForward, "port-forward", false, "reach the server through a port-forward of Kubernetes")
	fs.StringVar(&f.PortForwardNamespace, "port-forward-namespace", "", "namespace of the server for --port-forward, which it implies")
	fs.BoolVar(&f.Core, "core", false, "talk to Kubernetes alone, without a server")
	fs.StringVar(&f.KubeContext, "kube-context", "", "context of the kubeconfig for --core and --port-forward")
	fs.StringVar(&f.ServerName, "server-name", env("ARGOCD_SERVER_NAME", "argocd-server"), "name of the server in Kubernetes; env ARGOCD_SERVER_NAME")
	fs.StringVar(&f.ControllerName, "controller-name", env("ARGOCD_APPLICATION_CONTROLLER_NAME", "argocd-application-controller"), "accepted: core mode asks no controller; env ARGOCD_APPLICATION_CONTROLLER_NAME")
	fs.StringVar(&f.RepoServerName, "repo-server-name", env("ARGOCD_REPO_SERVER_NAME", "argocd-repo-server"), "accepted: core mode renders by itself; env ARGOCD_REPO_SERVER_NAME")
	fs.StringVar(&f.RedisName, "redis-name", env("ARGOCD_REDIS_NAME", "argocd-redis"), "accepted: no Redis is needed; env ARGOCD_REDIS_NAME")
	fs.StringVar(&f.RedisHA, "redis-haproxy-name", env("ARGOCD_REDIS_HAPROXY_NAME", "argocd-redis-ha-haproxy"), "accepted: no Redis is needed; env ARGOCD_REDIS_HAPROXY_NAME")
	fs.StringVar(&f.Compress, "redis-compress", env("REDIS_COMPRESSION", "gzip"), "accepted: gzip or none; env REDIS_COMPRESSION")
	fs.StringVar(&f.LogFormat, "logformat", "json", "form of errors and warnings: json or text; on a terminal they are plain words unless this is given")
	fs.StringVar(&f.LogLevel, "loglevel", "info", "debug, info, warn or error")
	fs.BoolVar(&f.Prompts, "prompts-enabled", false, "ask before anything is changed; default: prompts-enabled of the configuration file")
}

// Validate checks what cannot be left to the first use.
func (f *Flags) Validate() error {
	switch {
	case f.LogFormat != "json" && f.LogFormat != "text":
		return fail.Fatal("unknown log format %q: use json or text", f.LogFormat)
	case f.Compress != "gzip" && f.Compress != "none":
		return fail.Fatal("unknown compression %q for --redis-compress: use gzip or none", f.Compress)
	}
	switch f.LogLevel {
	case "debug", "info", "warn", "error", "trace", "warning", "fatal", "panic":
		return nil
	}
	return fail.Fatal("unknown log level %q: use debug, info, warn or error", f.LogLevel)
}

// Given says that a flag was given.
func (f *Flags) Given(name string) bool {
	flag := f.set.Lookup(name)
	return flag != nil && flag.Changed
}

// Style is how errors are written.
func (f *Flags) Style(c *console.Console) fail.Style {
	switch {
	case f.LogFormat == "text":
		return fail.Text
	case c.ErrTerminal && (f.set == nil || !f.Given("logformat")):
		return fail.Human
	}
	return fail.JSON
}

// Path is where the configuration file is.
func (f *Flags) Path(c *console.Console) (string, error) {
	return config.Path(f.Config, c.Getenv, c.Home)
}
