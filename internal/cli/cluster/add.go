package cluster

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// inCluster is the address of the cluster that the hub runs in.
const inCluster = "https://kubernetes.default.svc"

// addFlags are those of cluster add.
type addFlags struct {
	kubeFlags
	name, project, account, endpoint, proxy                          string
	awsCluster, awsRole, awsProfile                                  string
	execCommand, execVersion, execHint                               string
	namespaces, labels, annotations, execArgs, execEnv               []string
	inCluster, upsert, yes, readOnly, clusterResources, uncompressed bool
	shard                                                            int64
}

func (v *verbs) add() *cobra.Command {
	f := &addFlags{}
	c := &cobra.Command{Use: "add CONTEXT", Short: "Register the cluster of a kubeconfig context", Args: command.Args(0, 1)}
	fs := c.Flags()
	for _, s := range []struct {
		into                   *string
		name, otherwise, usage string
	}{
		{&f.kubeconfig, "kubeconfig", "", "path to a kubeconfig"}, {&f.name, "name", "", "name of the cluster; default: that of the context"},
		{&f.project, "project", "", "project that the cluster belongs to"}, {&f.account, "service-account", "", "existing ServiceAccount whose token is used, in --system-namespace"},
		{&f.systemNamespace, "system-namespace", "kube-system", "namespace of the ServiceAccount"},
		{&f.endpoint, "cluster-endpoint", "", "kubeconfig, kube-public or internal: where the address comes from"},
		{&f.proxy, "proxy-url", "", "proxy to the cluster"},
		{&f.awsCluster, "aws-cluster-name", "", "name in AWS, whose credentials the hub gets itself"}, {&f.awsRole, "aws-role-arn", "", "role to take in AWS"},
		{&f.awsProfile, "aws-profile", "", "profile to use in AWS"}, {&f.execCommand, "exec-command", "", "program on the hub that gives credentials"},
		{&f.execVersion, "exec-command-api-version", "", "version of the input and output of that program"}, {&f.execHint, "exec-command-install-hint", "", "what to say when that program is missing"},
	} {
		fs.StringVar(s.into, s.name, s.otherwise, s.usage)
	}
	fs.StringArrayVar(&f.namespaces, "namespace", nil, "only this namespace is managed; may be repeated")
	fs.StringArrayVar(&f.labels, "label", nil, "label KEY=VALUE; may be repeated")
	fs.StringArrayVar(&f.annotations, "annotation", nil, "annotation KEY=VALUE; may be repeated")
	fs.StringArrayVar(&f.execArgs, "exec-command-args", nil, "argument of that program; may be repeated")
	fs.StringArrayVar(&f.execEnv, "exec-command-env", nil, "environment KEY=VALUE of that program; may be repeated")
	fs.BoolVar(&f.inCluster, "in-cluster", false, "the hub runs in this cluster")
	fs.BoolVar(&f.clusterResources, "cluster-resources", false, "also manage cluster-scoped objects, with --namespace")
	fs.BoolVar(&f.upsert, "upsert", false, "replace one that is different")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fs.BoolVar(&f.readOnly, "read-only", false, "the ServiceAccount may only read")
	fs.BoolVar(&f.uncompressed, "disable-compression", false, "answers of the cluster are not compressed")
	fs.Int64Var(&f.shard, "shard", -1, "shard of the controllers; negative lets them choose")
	c.RunE = func(cmd *cobra.Command, args []string) error { return v.runAdd(cmd.Context(), f, args) }
	return c
}

func (f *addFlags) validate() error {
	switch f.endpoint {
	case "", "kubeconfig", "kube-public", "internal":
	default:
		return fail.Fatal("--cluster-endpoint %q is not known: use kubeconfig, kube-public or internal", f.endpoint)
	}
	switch {
	case f.inCluster && f.endpoint != "":
		return fail.Fatal("Can only use one of --in-cluster or --cluster-endpoint")
	case f.readOnly && (f.account != "" || f.awsCluster != "" || f.execCommand != ""):
		return fail.Fatal("--read-only is about the ServiceAccount that is made: it does not go with --service-account, --aws-cluster-name or --exec-command")
	case f.awsCluster != "" && f.execCommand != "":
		return fail.Fatal("--aws-cluster-name and --exec-command exclude each other")
	}
	return nil
}

func (v *verbs) runAdd(ctx context.Context, f *addFlags, args []string) error {
	if err := f.validate(); err != nil {
		return err
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return v.chooseContext(contexts(cfg))
	}
	t, err := find(cfg, args[0])
	if err != nil {
		return err
	}
	one, err := f.describe(t)
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(t.rest)
	if err != nil {
		return fmt.Errorf("context %s: %w", t.context, err)
	}
	if err := v.credentials(ctx, f, t, kube, one); err != nil {
		return err
	}
	if err := f.address(ctx, kube, one); err != nil {
		return err
	}
	api, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	created, err := api.CreateCluster(ctx, one, f.upsert)
	if err != nil {
		return err
	}
	server := created.Server
	if server == "" {
		server = one.Server
	}
	v.d.Console.Printf("Cluster '%s' added\n", server)
	return nil
}

// describe makes the registration, but for credentials.
func (f *addFlags) describe(t *target) (*client.Cluster, error) {
	one := &client.Cluster{
		Name: f.name, Server: strings.TrimSuffix(t.rest.Host, "/"), Namespaces: f.namespaces, ClusterResources: f.clusterResources, Project: f.project,
	}
	if one.Name == "" {
		one.Name = t.context
	}
	if f.shard >= 0 {
		one.Shard = &f.shard
	}
	var err error
	if one.Labels, err = command.Pairs(f.labels, "--label"); err != nil {
		return nil, err
	}
	if one.Annotations, err = command.Pairs(f.annotations, "--annotation"); err != nil {
		return nil, err
	}
	one.Config.DisableCompression = f.uncompressed || t.rest.DisableCompression
	one.Config.ProxyURL = f.proxy
	if f.proxy == "" && t.cluster != nil {
		one.Config.ProxyURL = t.cluster.ProxyURL
	}
	return one, nil
}

// credentials puts into a registration how the hub shows who it is.
func (v *verbs) credentials(ctx context.Context, f *addFlags, t *target, kube kubernetes.Interface, one *client.Cluster) error {
	var err error
	if one.Config.TLSClientConfig, err = t.tls(false); err != nil {
		return err
	}
	switch {
	case f.awsCluster != "":
		one.Config.AWSAuthConfig = &client.AWSAuth{ClusterName: f.awsCluster, RoleARN: f.awsRole, Profile: f.awsProfile}
		return nil
	case f.execCommand != "":
		env, err := command.Pairs(f.execEnv, "--exec-command-env")
		if err != nil {
			return err
		}
		one.Config.ExecProviderConfig = &client.ExecProvider{Command: f.execCommand, Args: f.execArgs, Env: env, APIVersion: f.execVersion, InstallHint: f.execHint}
		return nil
	}
	i := &installer{kube: kube, clk: v.d.Console.Clock, say: func(s string) { v.d.Log("info", s) }}
	if f.account != "" {
		one.Config.BearerToken, err = i.token(ctx, f.systemNamespace, f.account)
		return err
	}
	r := rights{system: f.systemNamespace, namespaces: f.namespaces, readOnly: f.readOnly}
	if ok, err := v.agreed(f, t, r); err != nil || !ok {
		return err
	}
	if one.Config.BearerToken, err = i.install(ctx, r); err != nil {
		return err
	}
	for _, line := range r.profile() {
		v.d.Log("info", line)
	}
	return nil
}

// agreed asks before rights are given away.
func (v *verbs) agreed(f *addFlags, t *target, r rights) (bool, error) {
	if f.yes || !v.d.Console.OutTerminal {
		return true, nil
	}
	level := "cluster"
	if len(r.namespaces) > 0 {
		level = "namespace"
	}
	kind := "full"
	if r.readOnly {
		kind = "read-only"
	}
	answer, err := v.d.Console.Ask(fmt.Sprintf("WARNING: This will create a service account `%s` on the cluster referenced by context `%s` with %s %s level privileges. Do you want to continue [y/N]? ", account, t.context, kind, level))
	if err != nil {
		return false, err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return false, fail.Silent(fail.Failure)
	}
	return true, nil
}

// address puts into a registration where the hub reaches the cluster.
func (f *addFlags) address(ctx context.Context, kube kubernetes.Interface, one *client.Cluster) error {
	switch {
	case f.inCluster, f.endpoint == "internal":
		one.Server = inCluster
	case f.endpoint == "kube-public":
		cm, err := kube.CoreV1().ConfigMaps("kube-public").Get(ctx, "cluster-info", metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("ConfigMap kube-public/cluster-info: %w", err)
		}
		server, ca, err := publicConfig(cm.Data["kubeconfig"])
		if err != nil {
			return err
		}
		one.Server = server
		if !one.Config.TLSClientConfig.Insecure && len(ca) > 0 {
			one.Config.TLSClientConfig.CAData = ca
		}
	}
	return nil
}
