package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

func (v *verbs) add() *cobra.Command {
	f := &addFlags{}
	c := &cobra.Command{Use: "add CONTEXT", Short: "Register the cluster of a kubeconfig context", Args: command.Args(0, 1)}
	f.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, args []string) error { return v.runAdd(cmd.Context(), f, args) }
	return c
}

// runAdd registers a cluster. What can be refused is refused before anything is
// written on the target.
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
	if f.printProfile {
		return v.printProfile(f, t)
	}
	one, err := f.describe(t)
	if err != nil {
		return err
	}
	if err := f.address(ctx, t, one); err != nil {
		return err
	}
	api, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	if err := v.credentials(ctx, f, t, one); err != nil {
		return err
	}
	created, err := api.CreateCluster(ctx, one, f.upsert)
	if err != nil {
		if one.Config.BearerToken != "" {
			v.d.Log("warn", "the cluster is not registered; what was made on it stays there, and is used again by the next cluster add")
		}
		return err
	}
	server := created.Server
	if server == "" {
		server = one.Server
	}
	v.d.Console.Printf("Cluster '%s' added\n", server)
	return nil
}

// describe makes the registration, but for the address and for credentials.
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
	if one.Labels, err = labels(f.labels); err != nil {
		return nil, err
	}
	if one.Annotations, err = annotations(f.annotations); err != nil {
		return nil, err
	}
	one.Config.DisableCompression = f.uncompressed || t.rest.DisableCompression
	one.Config.ProxyURL = f.proxy
	if f.proxy == "" && t.cluster != nil {
		one.Config.ProxyURL = t.cluster.ProxyURL
	}
	one.Config.TLSClientConfig, err = t.tls()
	return one, err
}

// address puts into a registration where the hub reaches the cluster. Another
// address than that of the kubeconfig is verified, and reached, in another way.
func (f *addFlags) address(ctx context.Context, t *target, one *client.Cluster) error {
	if !f.inCluster && f.endpoint != "internal" && f.endpoint != "kube-public" {
		return nil
	}
	one.Config.ProxyURL, one.Config.TLSClientConfig.ServerName = f.proxy, ""
	if f.endpoint != "kube-public" {
		one.Server, one.Config.TLSClientConfig = inCluster, client.TLSClientConfig{}
		return nil
	}
	kube, err := t.kube()
	if err != nil {
		return err
	}
	server, ca, err := publicConfig(ctx, kube)
	if err != nil {
		return err
	}
	one.Server = strings.TrimSuffix(server, "/")
	if !one.Config.TLSClientConfig.Insecure && len(ca) > 0 {
		one.Config.TLSClientConfig.CAData = ca
	}
	return nil
}

// credentials puts into a registration how the hub shows who it is.
func (v *verbs) credentials(ctx context.Context, f *addFlags, t *target, one *client.Cluster) error {
	switch {
	case f.awsCluster != "":
		one.Config.AWSAuthConfig = &client.AWSAuth{ClusterName: f.awsCluster, RoleARN: f.awsRole, Profile: f.awsProfile}
		v.d.Log("info", "Nothing is written on the cluster: Sluice logs in to AWS itself, and the cluster must know the role.")
		return nil
	case f.execCommand != "":
		env, err := command.Pairs(f.execEnv, "--exec-command-env")
		if err != nil {
			return err
		}
		one.Config.ExecProviderConfig = &client.ExecProvider{Command: f.execCommand, Args: f.execArgs, Env: env, APIVersion: f.execVersion, InstallHint: f.execHint}
		v.d.Log("info", "Nothing is written on the cluster: Sluice runs "+f.execCommand+" to log in, and the cluster must know who that is.")
		return nil
	}
	kube, err := t.kube()
	if err != nil {
		return err
	}
	i := v.installer(kube, !f.upsert)
	if f.account != "" {
		one.Config.BearerToken, err = i.tokenOf(ctx, f.systemNamespace, f.account, one.Server)
		return t.explained(err)
	}
	r := f.rights()
	if ok, err := v.agreed(f, t, r); err != nil || !ok {
		return err
	}
	if one.Config.BearerToken, err = i.install(ctx, r); err != nil {
		return t.explained(err)
	}
	for _, line := range r.words(v.d.Console.Name + " cluster add " + t.context) {
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

// printProfile writes a manifest with the least rights, and how to use it.
func (v *verbs) printProfile(f *addFlags, t *target) error {
	name := f.account
	if name == "" {
		name = profileAccount
	}
	text, err := f.rights().manifest(name)
	if err != nil {
		return errors.Join(errors.New("the manifest of the profile"), err)
	}
	again := []string{v.d.Console.Name, "cluster", "add", t.context, "--service-account", name}
	if f.systemNamespace != defaultSystem {
		again = append(again, "--system-namespace", f.systemNamespace)
	}
	for _, n := range f.namespaces {
		again = append(again, "--namespace", n)
	}
	if f.clusterResources {
		again = append(again, "--cluster-resources")
	}
	v.d.Console.Printf("# Least rights for Sluice on the cluster of context %s: it reads everything, and writes the kinds\n"+
		"# that are listed. Take away what your manifests do not have, add what they have besides. Then:\n"+
		"#   kubectl --context %s apply -f FILE\n#   %s\n%s", t.context, t.context, strings.Join(again, " "), text)
	return nil
}
