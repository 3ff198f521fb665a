// Package login holds the commands about sessions: login, relogin, logout
// (spec/cli.md §1.6).
//
//   - login.go: with a name and a password, and what the file remembers
//   - sso.go: with a browser; probe.go: whether the server is who it says it is
package login

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/config"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// Wire lets connections get fresh tokens from issuers.
func Wire(d *connect.Dialer) { d.Redeem = redeem }

type flags struct {
	username, password, name string
	sso, skipProbe           bool
	browserFlags
}

// Login is the command login.
func Login(d *connect.Dialer) *cobra.Command {
	f := &flags{}
	c := &cobra.Command{Use: "login SERVER", Short: "Log in to a server and remember it", Args: command.Args(0, 1)}
	fs := c.Flags()
	fs.StringVar(&f.username, "username", "", "name of a local account")
	fs.StringVar(&f.password, "password", "", "password of the account")
	fs.StringVar(&f.name, "name", "", "name of the context; default: the server")
	fs.BoolVar(&f.sso, "sso", false, "log in with a browser")
	fs.BoolVar(&f.skipProbe, "skip-test-tls", false, "do not look first whether the server speaks TLS")
	f.browserFlags.register(fs)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && d.Core:
			return core(cmd.Context(), d, f)
		case len(args) == 0 && !d.PortForward && d.PortForwardNamespace == "":
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		server := connect.Forwarded
		if len(args) > 0 {
			server = args[0]
		}
		return run(cmd.Context(), d, f, server)
	}
	return c
}

// core remembers that no server is used.
func core(ctx context.Context, d *connect.Dialer, f *flags) error {
	name := f.name
	if name == "" {
		name = connect.Kubernetes
	}
	return remember(ctx, d, config.Context{
		Name: name, Server: config.Server{Server: connect.Kubernetes, Core: true}, User: config.User{Name: name},
	})
}

func run(ctx context.Context, d *connect.Dialer, f *flags, server string) error {
	s, o, err := described(d, server)
	if err != nil {
		return err
	}
	if server != connect.Forwarded && !f.skipProbe && !o.PlainText && !o.Insecure {
		if err := probe(ctx, d.Console, &o); err != nil {
			return err
		}
		s.PlainText, s.Insecure = o.PlainText, o.Insecure
	}
	var c *client.Client
	if server == connect.Forwarded {
		c, err = d.Client(ctx)
	} else {
		c, err = client.New(o)
	}
	if err != nil {
		return err
	}
	user, err := session(ctx, d, f, c)
	if err != nil {
		return err
	}
	name := f.name
	if name == "" {
		name = server
		if root := strings.Trim(o.RootPath, "/"); root != "" {
			name = server + "/" + root
		}
	}
	user.Name = name
	if claims := connect.Read(user.AuthToken); claims != nil {
		d.Console.Printf("'%s' logged in successfully\n", claims.Who())
	}
	return remember(ctx, d, config.Context{Name: name, Server: s, User: user})
}

// described makes the entry of the file for a server from flags, and the
// options of a client for it. What the file knows of other servers does not
// count; no token is sent to the one that asks for a password.
func described(d *connect.Dialer, server string) (config.Server, client.Options, error) {
	s := config.Server{Server: server, Insecure: d.Insecure, PlainText: d.PlainText, GRPCWeb: d.GRPCWeb || d.RootPath != "", GRPCWebRootPath: d.RootPath}
	o, err := d.Options()
	if err != nil {
		return s, o, err
	}
	o.Server, o.Token, o.Insecure, o.PlainText, o.RootPath = server, "", d.Insecure, d.PlainText, d.RootPath
	if d.ServerCrt == "" {
		o.CA = nil
	}
	if d.ClientCrt == "" {
		o.ClientCert, o.ClientKey = nil, nil
	}
	s.CertificateAuthorityData, s.ClientCertificateData, s.ClientCertificateKeyData = o.CA, o.ClientCert, o.ClientKey
	return s, o, nil
}

// session logs in.
func session(ctx context.Context, d *connect.Dialer, f *flags, c *client.Client) (config.User, error) {
	if !f.sso {
		token, err := byPassword(ctx, d, c, f.username, f.password)
		return config.User{AuthToken: token}, err
	}
	settings, err := c.Settings(ctx)
	if err != nil {
		return config.User{}, err
	}
	issuer, err := issuerOf(c, settings)
	if err != nil {
		return config.User{}, err
	}
	token, refresh, err := f.browser(ctx, d.Console, issuer)
	return config.User{AuthToken: token, RefreshToken: refresh}, err
}

func byPassword(ctx context.Context, d *connect.Dialer, c *client.Client, username, password string) (string, error) {
	var err error
	for username == "" {
		if username, err = d.Console.Ask("Username: "); err != nil {
			return "", err
		}
		username = strings.TrimSpace(username)
	}
	for password == "" {
		if password, err = d.Console.AskSecret("Password: "); err != nil {
			return "", err
		}
	}
	return c.Login(ctx, username, password)
}

// remember writes a context and makes it the current one.
func remember(ctx context.Context, d *connect.Dialer, c config.Context) error {
	err := d.Change(ctx, func(f *config.File) error {
		f.CurrentContext = c.Name
		f.Put(c)
		return nil
	})
	if err != nil {
		return err
	}
	d.Console.Printf("Context '%s' updated\n", c.Name)
	return nil
}

// Relogin is the command relogin.
func Relogin(d *connect.Dialer) *cobra.Command {
	f := &flags{}
	c := &cobra.Command{Use: "relogin", Short: "Log in again to the server of the context", Args: command.Args(0, 0)}
	c.Flags().StringVar(&f.password, "password", "", "password of the account")
	f.browserFlags.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		current, err := d.Current()
		if err != nil {
			return err
		}
		if current == nil {
			return fail.Fatal("No context found. Login using `%s login`", d.Console.Name)
		}
		api, err := d.Client(cmd.Context())
		if err != nil {
			return err
		}
		claims := connect.Read(current.User.AuthToken)
		if claims == nil {
			return fail.New(d.Console.Name+" login "+current.Server.Server, "the context '%s' holds no token to begin from", current.Name)
		}
		if claims.Local() {
			f.username = strings.TrimSuffix(claims.Subject, ":login")
			d.Console.Printf("Relogging in as '%s'\n", claims.Who())
		} else {
			f.sso = true
			d.Console.Printf("Reinitiating SSO login\n")
		}
		user, err := session(cmd.Context(), d, f, api)
		if err != nil {
			return err
		}
		user.Name = current.User.Name
		err = d.Change(cmd.Context(), func(f *config.File) error {
			if f.Empty() {
				return errors.New("the configuration file is gone")
			}
			f.PutUser(user)
			return nil
		})
		if err != nil {
			return err
		}
		d.Console.Printf("Context '%s' updated\n", current.Name)
		return nil
	}
	return c
}

// Logout is the command logout.
func Logout(d *connect.Dialer) *cobra.Command {
	c := &cobra.Command{Use: "logout CONTEXT", Short: "End the session of a context", Args: command.Args(1, 1)}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := d.Local()
		if err != nil {
			return err
		}
		if f == nil {
			return fail.Fatal("Nothing to logout from")
		}
		d.Context = args[0]
		current, err := f.Resolve(args[0])
		if err != nil {
			return err
		}
		if current.User.AuthToken != "" && !current.Server.Core {
			if api, err := d.Client(cmd.Context()); err != nil {
				d.Log("warn", "the server was not told: "+err.Error())
			} else if err := api.Logout(cmd.Context()); err != nil {
				d.Log("warn", "the server was not told: "+err.Error())
			}
		}
		err = d.Change(cmd.Context(), func(f *config.File) error {
			if now, err := f.Resolve(args[0]); err == nil { // another command may have deleted it meanwhile
				f.PutUser(config.User{Name: now.User.Name})
			}
			return nil
		})
		if err != nil {
			return err
		}
		d.Console.Printf("Logged out from '%s'\n", args[0])
		return nil
	}
	return c
}

// hostPort is an address with a port.
func hostPort(server string) string {
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server
	}
	return net.JoinHostPort(strings.Trim(server, "[]"), "443")
}
