package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/declare"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/registration"
	"github.com/sluice-cd/sluice/internal/domain/destination"
)

func (v *verbs) kubeconfig() *cobra.Command {
	return &cobra.Command{
		Use: "kubeconfig CLUSTER_URL PATH", Short: "Write the credentials of the hub for a cluster as a kubeconfig, - is the output", Args: command.Args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := v.connect()
			if err != nil {
				return err
			}
			all, err := h.figures(cmd.Context())
			if err != nil {
				return err
			}
			at := slices.IndexFunc(all, func(f figures) bool {
				return f.secret != nil && (f.Server == strings.TrimSuffix(args[0], "/") || f.Name == args[0])
			})
			if at < 0 {
				return fail.New(v.Dialer.Console.Name+" admin cluster stats lists the servers", "no Secret declares a cluster %s", args[0])
			}
			c, err := registration.ClusterOf(all[at].secret)
			if err != nil {
				return err
			}
			cfg, err := c.Kubeconfig()
			if err != nil {
				return err
			}
			raw, err := clientcmd.Write(*cfg)
			if err != nil {
				return err
			}
			write := func(w io.Writer) error {
				_, err := w.Write(raw)
				return err
			}
			if args[1] == "-" {
				return write(v.Dialer.Console.Out)
			}
			return console.Replace(args[1], 0o600, write)
		},
	}
}

// specFlags are those of cluster generate-spec.
type specFlags struct {
	cluster                  registration.Cluster
	aws                      destination.AWS
	program                  destination.Program
	account, system, token   string
	labels, annotations, env []string
	inCluster, generate      bool
	shard                    int64
	declared                 declare.Flags
}

func (v *verbs) clusterSpec() *cobra.Command {
	f := &specFlags{}
	c := &cobra.Command{Use: "generate-spec CONTEXT", Short: "Print the Secret that declares the cluster of a kubeconfig context", Args: command.Args(1, 1)}
	fs := c.Flags()
	f.declared.Register(c, false)
	for _, s := range []struct {
		into                   *string
		name, otherwise, usage string
	}{
		{&f.cluster.Name, "name", "", "name of the cluster; default: that of the context"}, {&f.cluster.Project, "project", "", "project that the cluster belongs to"},
		{&f.token, "bearer-token", "", "token that the hub shows the cluster"}, {&f.account, "service-account", "argocd-manager", "ServiceAccount of --generate-bearer-token"},
		{&f.system, "system-namespace", "kube-system", "namespace of that ServiceAccount"}, {&f.cluster.Config.ProxyURL, "proxy-url", "", "proxy to the cluster"},
		{&f.aws.ClusterName, "aws-cluster-name", "", "name in AWS, whose credentials the hub gets itself"}, {&f.aws.RoleARN, "aws-role-arn", "", "role to take in AWS"},
		{&f.aws.Profile, "aws-profile", "", "profile to use in AWS"}, {&f.program.Command, "exec-command", "", "program on the hub that gives credentials"},
		{&f.program.APIVersion, "exec-command-api-version", "", "version of the input and output of that program"}, {&f.program.InstallHint, "exec-command-install-hint", "", "what to say when that program is missing"},
	} {
		fs.StringVar(s.into, s.name, s.otherwise, s.usage)
	}
	fs.StringArrayVar(&f.cluster.Namespaces, "namespaces", nil, "only this namespace is managed; may be repeated")
	fs.StringArrayVar(&f.labels, "label", nil, "label KEY=VALUE; may be repeated")
	fs.StringArrayVar(&f.annotations, "annotation", nil, "annotation KEY=VALUE; may be repeated")
	fs.StringArrayVar(&f.program.Args, "exec-command-args", nil, "argument of that program; may be repeated")
	fs.StringArrayVar(&f.env, "exec-command-env", nil, "environment KEY=VALUE of that program; may be repeated")
	fs.BoolVar(&f.inCluster, "in-cluster", false, "the hub runs in this cluster")
	fs.BoolVar(&f.cluster.ClusterResources, "cluster-resources", false, "also manage cluster-scoped objects, with --namespaces")
	fs.BoolVar(&f.generate, "generate-bearer-token", false, "ask the cluster for a token of the ServiceAccount, for one year")
	fs.BoolVar(&f.cluster.Config.DisableCompression, "disable-compression", false, "answers of the cluster are not compressed")
	fs.Int64Var(&f.shard, "shard", -1, "shard of the controllers; negative lets them choose")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = v.Dialer.Kube.Path
		cfg, err := rules.Load()
		if err != nil {
			return fmt.Errorf("kubeconfig: %w", err)
		}
		if cfg.Contexts[args[0]] == nil {
			near := command.Near(args[0], slices.Collect(maps.Keys(cfg.Contexts)))
			return fail.New("kubectl config get-contexts "+near, "the kubeconfig has no context %s", args[0])
		}
		r, err := clientcmd.NewNonInteractiveClientConfig(*cfg, args[0], &clientcmd.ConfigOverrides{}, nil).ClientConfig()
		if err != nil {
			return fmt.Errorf("context %s: %w", args[0], err)
		}
		if f.cluster.Name == "" {
			f.cluster.Name = args[0]
		}
		if err := v.complete(cmd.Context(), f, r); err != nil {
			return err
		}
		s, err := f.cluster.Secret()
		if err != nil {
			return err
		}
		s.Namespace = v.Dialer.Kube.Overrides.Context.Namespace // of -n alone: declarations in Git are for more than one hub
		return f.declared.Print(v.Dialer.Console, "", s)
	}
	return c
}

// complete puts together what the flags and the context say.
func (v *verbs) complete(ctx context.Context, f *specFlags, r *rest.Config) error {
	if err := rest.LoadTLSFiles(r); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	var err error
	if f.cluster.Labels, err = command.Pairs(f.labels, "--label"); err != nil {
		return err
	}
	if f.cluster.Annotations, err = command.Pairs(f.annotations, "--annotation"); err != nil {
		return err
	}
	if f.shard >= 0 {
		f.cluster.Shard = strconv.FormatInt(f.shard, 10)
	}
	f.cluster.Server = strings.TrimSuffix(r.Host, "/")
	f.cluster.Config.TLSClientConfig = destination.TLS{Insecure: r.Insecure, ServerName: r.ServerName}
	if !r.Insecure {
		f.cluster.Config.TLSClientConfig.CAData = r.CAData
	}
	ways := 0
	for _, given := range []bool{f.aws.ClusterName != "", f.program.Command != "", f.token != "", f.generate} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		return fail.Fatal("--aws-cluster-name, --exec-command, --bearer-token and --generate-bearer-token exclude one another")
	}
	switch {
	case f.aws.ClusterName != "":
		f.cluster.Config.AWSAuthConfig = &f.aws
	case f.program.Command != "":
		if f.program.Env, err = command.Pairs(f.env, "--exec-command-env"); err != nil {
			return err
		}
		f.cluster.Config.ExecProviderConfig = &f.program
	case f.token != "":
		f.cluster.Config.BearerToken = f.token
	case f.generate:
		if f.cluster.Config.BearerToken, err = v.issue(ctx, f, r); err != nil {
			return err
		}
	}
	if f.inCluster {
		f.cluster.Server = destination.InClusterServer
	}
	return nil
}

// year is how long a token of generate-spec lasts, in seconds.
const year = 365 * 24 * 60 * 60

// issue has the cluster make a token for the ServiceAccount.
func (v *verbs) issue(ctx context.Context, f *specFlags, r *rest.Config) (string, error) {
	c, err := client.New(r, client.Options{})
	if err != nil {
		return "", fmt.Errorf("connect to the cluster: %w", err)
	}
	account := &corev1.ServiceAccount{}
	account.Name, account.Namespace = f.account, f.system
	seconds := int64(year)
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if err := c.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fail.New(v.Dialer.Console.Name+" cluster add makes the ServiceAccount and a token that does not end", "token of ServiceAccount %s/%s: %w", f.system, f.account, err)
	}
	if request.Status.Token == "" {
		return "", errors.New("the cluster gave no token")
	}
	v.Dialer.Log("info", "the token ends at "+request.Status.ExpirationTimestamp.UTC().Format("2006-01-02T15:04:05Z"))
	return request.Status.Token, nil
}
