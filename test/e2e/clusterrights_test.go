package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

var (
	writeRoles  = authorizationv1.ResourceAttributes{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}
	readNodes   = authorizationv1.ResourceAttributes{Verb: "list", Resource: "nodes"}
	writeSpaces = authorizationv1.ResourceAttributes{Verb: "create", Resource: "namespaces"}
)

func writeMaps(namespace string) authorizationv1.ResourceAttributes {
	return authorizationv1.ResourceAttributes{Verb: "patch", Resource: "configmaps", Namespace: namespace}
}

func readMaps(namespace string) authorizationv1.ResourceAttributes {
	return authorizationv1.ResourceAttributes{Verb: "list", Resource: "configmaps", Namespace: namespace}
}

// TestClusterAdd plays cluster add with every form of rights, and with every
// form of credentials that a kubeconfig holds; what it gives is read from the
// target, used by Sluice, and taken away again by cluster rm.
func TestClusterAdd(t *testing.T) {
	var tokens atomic.Pointer[map[string]string]
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s3cret,aws", "AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL_STS": clouds(t, &tokens), "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	a := newAdding(t)
	for _, p := range []struct {
		name string
		run  func(*adding)
	}{
		{"full", (*adding).full}, {"namespace", (*adding).namespace}, {"narrowed", (*adding).narrowed}, {"read-only", (*adding).readOnly}, {"profile", (*adding).profile},
		{"accounts", (*adding).accounts}, {"in cluster", (*adding).inCluster}, {"programs", (*adding).programs}, {"aws", (*adding).aws},
		{"certificates", (*adding).byCertificate}, {"tokens", (*adding).byToken}, {"other ways", (*adding).byOtherWays}, {"address", (*adding).byAddress}, {"refused", (*adding).refusals},
	} {
		t.Run(p.name, func(t *testing.T) {
			part := *a
			part.forms = &forms{T: t, rig: a.rig, one: a.one, admin: a.admin, core: a.core, plugin: a.plugin, refused: a.refused}
			defer func() {
				if t.Failed() {
					part.reset()
				}
			}()
			p.run(&part)
			part.made()
		})
	}
	log, err := os.ReadFile(a.rig.Log())
	must(t, err)
	a.lacks(string(log), "s3cret", "of-the-role", "k8s-aws-v1.", "eyJ")
}

// full is what scripts expect: everything, everywhere.
func (a *adding) full() {
	k := a.kubeconfig("full", nil)
	add := []string{"cluster", "add", "full", "--kubeconfig", k, "-y", "--name", "add-full", "--label", "env=test", "--label", "wave=canary", "--annotation", "note=a b", "--shard", "0"}
	out := a.runs([]string{
		`ServiceAccount \"argocd-manager\" created in namespace \"kube-system\"`, `ClusterRole \"argocd-manager-role\" created`, `ClusterRoleBinding \"argocd-manager-role-binding\" created`,
		`Created bearer token Secret \"argocd-manager-long-lived-token\"`, "ServiceAccount kube-system/argocd-manager may do everything in the whole cluster.",
		"To give less: sluice cluster add full --print-profile", "Cluster '" + a.one.Server + "' added",
	}, add...)
	secret, config := a.registered("add-full")
	a.lacks(out, config.BearerToken)
	a.made(whole...)
	all := []string{"*"}
	if r := a.rulesOf(); len(r) != 2 || !slices.Equal(r[0].Verbs, all) || !slices.Equal(r[0].Resources, all) || !slices.Equal(r[0].APIGroups, all) || !slices.Equal(r[1].NonResourceURLs, all) {
		a.Errorf("rules %v", r)
	}
	if secret.Labels["env"] != "test" || secret.Labels["wave"] != "canary" || secret.Annotations["note"] != "a b" || string(secret.Data["shard"]) != "0" || string(secret.Data["server"]) != a.one.Server {
		a.Errorf("labels %v, annotations %v, shard %s", secret.Labels, secret.Annotations, secret.Data["shard"])
	}
	if config.BearerToken == "" || len(config.TLS.CAData) == 0 || len(config.TLS.CertData) > 0 {
		a.Error("the credentials of the kubeconfig, not those of the ServiceAccount, are registered")
	}
	a.may("add-full", true, writeRoles)
	a.may("add-full", true, writeMaps("anywhere"))
	a.syncs("add-full")
	a.runs([]string{`ClusterRole \"argocd-manager-role\" already exists`, "is used again", "Cluster '" + a.one.Server + "' added"}, add...)
	a.fails(20, []string{"gives other rights than asked for"}, append(add, "--read-only")...)
	a.fails(20, []string{"use upsert"}, append(add, "--label", "env=prod")...)
	a.runs(nil, append(add, "--label", "env=prod", "--upsert")...)
	if secret, _ := a.registered("add-full"); secret.Labels["env"] != "prod" {
		a.Errorf("labels %v after --upsert", secret.Labels)
	}
	a.removes("add-full", k, "--system-namespace", "elsewhere") // found by the binding all the same; the context by its server
}

// namespace gives rights in two namespaces and nowhere else.
func (a *adding) namespace() {
	k := a.kubeconfig("add-spaces", nil)
	add := []string{"cluster", "add", "add-spaces", "--kubeconfig", k, "--namespace", "add-spaces", "--namespace", "add-more"}
	a.fails(20, []string{`namespace \"add-spaces\" does not exist`}, add...)
	a.space("add-spaces")
	a.space("add-more")
	a.runs([]string{`Role \"add-spaces/argocd-manager-role\" created`, "may do everything in namespaces add-spaces, add-more."}, add...)
	a.made("Role add-spaces/argocd-manager-role", "RoleBinding add-spaces/argocd-manager-role-binding", "Role add-more/argocd-manager-role", "RoleBinding add-more/argocd-manager-role-binding", whole[2], whole[3])
	a.may("add-spaces", true, writeMaps("add-spaces"))
	a.may("add-spaces", false, readMaps("default"))
	a.may("add-spaces", false, readNodes)
	a.refusedWrite("add-spaces", "default")
	if secret, _ := a.registered("add-spaces"); string(secret.Data["namespaces"]) != "add-spaces,add-more" {
		a.Errorf("namespaces %s", secret.Data["namespaces"])
	}
	id := a.deploy("add-spaces", config1)
	good(a.T, a.rig, "add-spaces", id)
	a.commit("add-spaces", config1+"---\n"+strings.Replace(config1, "{name: side}", "{name: stray, namespace: default}", 1))
	a.says("add-spaces", "Unknown", `Namespace "default" for ConfigMap "stray" is not managed`)
	prints(a.T, a.rig, "one", "", "get", "configmap", "stray", "-n", "default", "--ignore-not-found", "-o", "name")
	a.drop("add-spaces")
	a.removes("add-spaces", k)
}

// narrowed takes rights away that an earlier call gave, and gives those for
// objects without a namespace alone.
func (a *adding) narrowed() {
	k := a.kubeconfig("narrow", nil)
	a.space("narrow")
	a.runs(nil, "cluster", "add", "narrow", "--kubeconfig", k)
	narrow := []string{"cluster", "add", "narrow", "--kubeconfig", k, "--namespace", "narrow"}
	a.fails(20, []string{`ClusterRoleBinding \"argocd-manager-role-binding\" is on the cluster already`}, narrow...)
	a.runs([]string{`ClusterRole \"argocd-manager-role\" deleted`}, append(narrow, "--upsert")...)
	here := []string{"Role narrow/argocd-manager-role", "RoleBinding narrow/argocd-manager-role-binding"}
	a.made(append(here, whole[2:]...)...)
	a.may("narrow", false, readNodes)
	a.runs([]string{"objects that have no namespace"}, append(narrow, "--cluster-resources", "--upsert")...)
	a.made(append(here, whole...)...)
	a.may("narrow", true, readNodes)
	a.may("narrow", true, writeSpaces)
	a.may("narrow", true, writeMaps("narrow"))
	a.may("narrow", false, writeMaps("default"))
	a.refusedWrite("narrow", "default")
	a.syncs("narrow")
	a.runs([]string{`Role \"narrow/argocd-manager-role\" deleted`}, "cluster", "add", "narrow", "--kubeconfig", k, "--upsert")
	a.made(whole...)
	a.removes("narrow", k)
}

// readOnly shows what differs and changes nothing.
func (a *adding) readOnly() {
	k := a.kubeconfig("add-reads", nil)
	a.runs([]string{"may read everything, Secrets too, and change nothing"}, "cluster", "add", "add-reads", "--kubeconfig", k, "--read-only")
	a.made(whole...)
	a.may("add-reads", true, readNodes)
	a.may("add-reads", false, writeMaps("default"))
	a.refusedWrite("add-reads", "default")
	a.space("add-reads")
	id := a.deploy("add-reads", config1)
	a.failsToSync("add-reads", "forbidden")
	prints(a.T, a.rig, "one", "", "get", "configmap", "side", "-n", "add-reads", "--ignore-not-found", "-o", "name")
	a.runs(nil, "app", "terminate-op", "add-reads") // it would be tried again, in a while
	a.runs(nil, "app", "wait", "add-reads", "--operation", "--timeout", "40")
	a.runs([]string{`ClusterRole \"argocd-manager-role\" updated`}, "cluster", "add", "add-reads", "--kubeconfig", k, "--upsert")
	a.runs(nil, "app", "sync", "add-reads")
	good(a.T, a.rig, "add-reads", id)
	a.drop("add-reads")
	a.removes("add-reads", k)
}

// profile applies the manifest that is printed and lives by it.
func (a *adding) profile() {
	k := a.kubeconfig("add-least", nil)
	text := a.runs(nil, "cluster", "add", "add-least", "--kubeconfig", k, "--print-profile")
	a.made()
	if !strings.Contains(text, "#   sluice cluster add add-least --service-account sluice-manager\n---\n") {
		a.Errorf("the profile does not say how it is used:\n%s", text)
	}
	file := filepath.Join(a.dir, "profile.yaml")
	must(a.T, os.WriteFile(file, []byte(text), 0o600))
	if out, err := kubectl(a.T, a.rig, "one", "apply", "-f", file); err != nil {
		a.Fatal(out)
	}
	applied := []string{"ClusterRole /sluice-manager", "ClusterRoleBinding /sluice-manager", "ServiceAccount kube-system/sluice-manager"}
	a.runs([]string{`Created bearer token Secret \"sluice-manager-long-lived-token\"`}, "cluster", "add", "add-least", "--kubeconfig", k, "--service-account", "sluice-manager")
	a.made(append(applied, "Secret kube-system/sluice-manager-long-lived-token")...)
	a.may("add-least", true, writeSpaces)
	a.may("add-least", false, writeRoles)
	a.syncs("add-least")
	a.commit("add-least", config1+"---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: more}\nrules: []\n")
	must(a.T, a.rig.Apply(a.Context(), fmt.Sprintf(formApp, "add-least", a.rig.Git.URL("gitops-fleet")), &v1alpha1.Application{}))
	a.failsToSync("add-least", "forbidden")
	a.drop("add-least")
	a.runs([]string{`Secret \"kube-system/sluice-manager-long-lived-token\" deleted`}, "cluster", "rm", "add-least", "-y", "--kubeconfig", k)
	a.made(applied...)
	if out, err := kubectl(a.T, a.rig, "one", "delete", "-f", file); err != nil {
		a.Fatal(out)
	}
	if text = a.runs(nil, "cluster", "add", "add-least", "--kubeconfig", k, "--print-profile", "--read-only", "--namespace", "x", "--service-account", "eyes"); strings.Contains(text, "create") ||
		strings.Count(text, "namespace: x") != 2 || !strings.Contains(text, "name: eyes") {
		a.Errorf("a profile that only reads:\n%s", text)
	}
}

// accounts uses accounts that are there, and another home for ours.
func (a *adding) accounts() {
	k := a.kubeconfig("add-own", nil)
	a.fails(20, []string{`ServiceAccount \"nobody\" does not exist in namespace \"kube-system\"`}, "cluster", "add", "add-own", "--kubeconfig", k, "--service-account", "nobody")
	a.fails(20, []string{`namespace \"tools\" does not exist`}, "cluster", "add", "add-own", "--kubeconfig", k, "--system-namespace", "tools")
	a.space("tools")
	a.runs([]string{`created in namespace \"tools\"`}, "cluster", "add", "add-own", "--kubeconfig", k, "--system-namespace", "tools")
	a.made(whole[0], whole[1], "Secret tools/argocd-manager-long-lived-token", "ServiceAccount tools/argocd-manager")
	a.syncs("add-own")
	a.removes("add-own", k)
}

// inCluster registers the hub itself.
func (a *adding) inCluster() {
	hub, err := a.rig.Fleet.Cluster("hub")
	must(a.T, err)
	config, err := hub.Config()
	must(a.T, err)
	k := a.kubeconfig("add-hub", func(c *api.Cluster, u *api.AuthInfo) {
		c.Server, c.CertificateAuthorityData, u.ClientCertificateData, u.ClientKeyData = hub.Server, config.CAData, config.CertData, config.KeyData
	})
	a.fails(1, []string{"only use one of"}, "cluster", "add", "add-hub", "--kubeconfig", k, "--in-cluster", "--cluster-endpoint", "internal")
	a.runs([]string{"Cluster 'https://kubernetes.default.svc' added"}, "cluster", "add", "add-hub", "--kubeconfig", k, "--in-cluster")
	_, c := a.registered("add-hub")
	if c.BearerToken == "" || len(c.TLS.CAData) > 0 {
		a.Errorf("registered with TLS %v", c.TLS)
	}
	prints(a.T, a.rig, "hub", "argocd-manager", "get", "serviceaccount", "argocd-manager", "-n", "kube-system", "-o", "jsonpath={.metadata.name}")
	a.syncs("add-hub")
	prints(a.T, a.rig, "hub", "1", "get", "configmap", "side", "-n", "add-hub", "-o", "jsonpath={.data.version}")
	a.removes("add-hub", k)
	prints(a.T, a.rig, "hub", "", "get", "serviceaccount", "argocd-manager", "-n", "kube-system", "--ignore-not-found", "-o", "name")
}

// programs has the hub log in with a program; nothing is written on the target.
func (a *adding) programs() {
	must(a.T, os.WriteFile(filepath.Join(a.dir, "token"), []byte(a.account("add-program")), 0o600))
	part := *a
	part.before = a.inventory()
	k := a.kubeconfig("add-exec", nil)
	add := []string{"cluster", "add", "add-exec", "--kubeconfig", k, "--exec-command"}
	a.fails(1, []string{"needs --exec-command-api-version"}, append(add, a.plugin)...)
	a.fails(20, []string{"would run on the server", "server.cluster.exec.commands"}, append(add, "/bin/sh", "--exec-command-api-version", "client.authentication.k8s.io/v1")...)
	a.fails(1, []string{"need --exec-command"}, "cluster", "add", "add-exec", "--kubeconfig", k, "--exec-command-args", "x")
	a.fails(1, []string{"exclude each other"}, append(add, a.plugin, "--exec-command-api-version", "v", "--aws-cluster-name", "x")...)
	a.runs([]string{"Nothing is written on the cluster"}, append(add, a.plugin, "--exec-command-api-version", "client.authentication.k8s.io/v1", "--exec-command-args", "get", "--exec-command-args", "--token",
		"--exec-command-env", "AUTHPLUGIN_TOKEN="+filepath.Join(a.dir, "token"), "--exec-command-env", "AUTHPLUGIN_LOG="+filepath.Join(a.dir, "calls"), "--exec-command-install-hint", "ask us")...)
	part.made()
	_, c := a.registered("add-exec")
	var got map[string]any
	must(a.T, json.Unmarshal(c.Exec, &got))
	if c.BearerToken != "" || got["installHint"] != "ask us" || got["command"] != a.plugin {
		a.Errorf("registered: %s", c.Exec)
	}
	a.syncs("add-exec")
	if who := a.writers("add-exec"); !slices.Equal(who, []string{"system:serviceaccount:default:add-program"}) {
		a.Errorf("written by %v", who)
	}
	raw, err := os.ReadFile(filepath.Join(a.dir, "calls"))
	must(a.T, err)
	if !strings.Contains(string(raw), `"args":["get","--token"]`) {
		a.Errorf("called with %s", raw)
	}
	part.removes("add-exec", k)
	must(a.T, a.core.RbacV1().ClusterRoleBindings().Delete(a.Context(), "add-program", metav1.DeleteOptions{}))
}

// aws has the hub log in to AWS.
func (a *adding) aws() {
	p := a.door(a.eks)
	k := a.kubeconfig("add-eks", func(c *api.Cluster, _ *api.AuthInfo) { c.Server, c.CertificateAuthorityData = p.URL(), p.CA() })
	a.fails(1, []string{"need --aws-cluster-name"}, "cluster", "add", "add-eks", "--kubeconfig", k, "--aws-role-arn", "arn:aws:iam::1:role/deployer")
	a.runs([]string{"Nothing is written on the cluster"}, "cluster", "add", "add-eks", "--kubeconfig", k, "--aws-cluster-name", "prod", "--aws-role-arn", "arn:aws:iam::1:role/deployer")
	a.made()
	if _, c := a.registered("add-eks"); string(c.AWS) != `{"clusterName":"prod","roleARN":"arn:aws:iam::1:role/deployer"}` || c.BearerToken != "" {
		a.Errorf("registered: %s", c.AWS)
	}
	a.syncs("add-eks")
	a.runs([]string{"Cluster 'add-eks' removed"}, "cluster", "rm", "add-eks", "-y", "--kubeconfig", a.kubeconfig("add-eks", nil))
}
