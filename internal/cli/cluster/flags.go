package cluster

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

const (
	// inCluster is the address of the cluster that the hub runs in.
	inCluster = "https://kubernetes.default.svc"
	// defaultSystem is where the ServiceAccount is made.
	defaultSystem = "kube-system"
	// cloudLogin is the program for clouds that comes with Sluice, and
	// cloudVersion what it speaks.
	cloudLogin, cloudVersion = "argocd-k8s-auth", "client.authentication.k8s.io/v1beta1"
)

// addFlags are those of cluster add.
type addFlags struct {
	kubeFlags
	name, project, account, endpoint, proxy                          string
	awsCluster, awsRole, awsProfile                                  string
	execCommand, execVersion, execHint                               string
	namespaces, labels, annotations, execArgs, execEnv               []string
	inCluster, upsert, yes, readOnly, clusterResources, uncompressed bool
	printProfile                                                     bool
	shard                                                            int64
}

func (f *addFlags) register(fs *pflag.FlagSet) {
	for _, s := range []struct {
		into                   *string
		name, otherwise, usage string
	}{
		{&f.kubeconfig, "kubeconfig", "", "path to a kubeconfig"}, {&f.name, "name", "", "name of the cluster; default: that of the context"},
		{&f.project, "project", "", "project that the cluster belongs to"}, {&f.account, "service-account", "", "existing ServiceAccount whose token is used, in --system-namespace"},
		{&f.systemNamespace, "system-namespace", defaultSystem, "namespace of the ServiceAccount"},
		{&f.endpoint, "cluster-endpoint", "", "kubeconfig, kube-public or internal: where the address comes from"},
		{&f.proxy, "proxy-url", "", "proxy by which the hub reaches the cluster; default: that of the kubeconfig"},
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
	fs.BoolVar(&f.printProfile, "print-profile", false, "write nothing; print a manifest with the least rights instead, to be changed and applied")
	fs.BoolVar(&f.uncompressed, "disable-compression", false, "answers of the cluster are not compressed")
	fs.Int64Var(&f.shard, "shard", -1, "shard of the controllers; negative lets them choose")
}

func (f *addFlags) rights() rights {
	return rights{system: f.systemNamespace, namespaces: f.namespaces, readOnly: f.readOnly, clusterResources: f.clusterResources}
}

// validate checks flags by themselves, and completes the version of a program
// that is ours.
func (f *addFlags) validate() error {
	switch f.endpoint {
	case "", "kubeconfig", "kube-public", "internal":
	default:
		return fail.Fatal("--cluster-endpoint %q is not known: use kubeconfig, kube-public or internal", f.endpoint)
	}
	if f.inCluster && f.endpoint != "" {
		return fail.Fatal("Can only use one of --in-cluster or --cluster-endpoint")
	}
	if err := f.validateLogin(); err != nil {
		return err
	}
	if f.proxy == "" {
		return nil
	}
	u, err := url.Parse(f.proxy)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" {
		return fail.Fatal("--proxy-url is no URL of a proxy: it begins with http://, https:// or socks5:// and names a host")
	}
	return nil
}

// validateLogin checks the flags by which the hub shows who it is.
func (f *addFlags) validateLogin() error {
	ours := f.account != "" || f.awsCluster != "" || f.execCommand != ""
	switch {
	case f.readOnly && ours && !f.printProfile:
		return fail.Fatal("--read-only is about the ServiceAccount that is made: it does not go with --service-account, --aws-cluster-name or --exec-command")
	case f.awsCluster != "" && f.execCommand != "":
		return fail.Fatal("--aws-cluster-name and --exec-command exclude each other")
	case f.account != "" && (f.awsCluster != "" || f.execCommand != ""):
		return fail.Fatal("--service-account gives a token: it does not go with --aws-cluster-name or --exec-command")
	case f.awsCluster == "" && (f.awsRole != "" || f.awsProfile != ""):
		return fail.Fatal("--aws-role-arn and --aws-profile need --aws-cluster-name")
	case f.execCommand == "" && (len(f.execArgs) > 0 || len(f.execEnv) > 0 || f.execVersion != "" || f.execHint != ""):
		return fail.Fatal("--exec-command-args, -env, -api-version and -install-hint need --exec-command")
	}
	if f.execCommand == "" || f.execVersion != "" {
		return nil
	}
	if f.execCommand != cloudLogin {
		return fail.Fatal("--exec-command %s needs --exec-command-api-version: what the program prints as apiVersion, for example client.authentication.k8s.io/v1", f.execCommand)
	}
	f.execVersion = cloudVersion
	return nil
}

// labels reads labels as a Secret will carry them.
func labels(words []string) (map[string]string, error) {
	out, err := keyed(words, "--label")
	for k, v := range out {
		if wrong := validation.IsValidLabelValue(v); len(wrong) > 0 {
			return nil, fail.Fatal("--label %s=%s: the value is none of a label: %s", k, v, wrong[0])
		}
	}
	return out, err
}

func annotations(words []string) (map[string]string, error) { return keyed(words, "--annotation") }

func keyed(words []string, flag string) (map[string]string, error) {
	out, err := command.Pairs(words, flag)
	if err != nil {
		return nil, fmt.Errorf("cluster add: %w", err)
	}
	for k := range out {
		if wrong := validation.IsQualifiedName(strings.ToLower(k)); len(wrong) > 0 {
			return nil, fail.Fatal("%s %s: the key is none of Kubernetes: %s", flag, k, wrong[0])
		}
	}
	return out, nil
}
