package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// adding runs the real command line against a hub and one target.
type adding struct {
	*forms
	dir string
	env []string
	// before are the objects of the target that are nobody's rights of ours.
	before []string
}

// secretConfig is the JSON of a cluster Secret, as the test reads it.
type secretConfig struct {
	BearerToken string `json:"bearerToken"`
	Username    string `json:"username"`
	ProxyURL    string `json:"proxyUrl"`
	TLS         struct {
		Insecure   bool   `json:"insecure"`
		ServerName string `json:"serverName"`
		CAData     []byte `json:"caData"`
		CertData   []byte `json:"certData"`
	} `json:"tlsClientConfig"`
	Exec json.RawMessage `json:"execProviderConfig"`
	AWS  json.RawMessage `json:"awsAuthConfig"`
}

// newAdding starts a hub with a server, logs in, and forgets the target, which
// the cases register.
func newAdding(t *testing.T) *adding {
	t.Helper()
	dir := t.TempDir()
	a := &adding{forms: &forms{T: t, refused: map[string]bool{}, plugin: filepath.Join(dir, "authplugin")}, dir: dir}
	if out, err := exec.Command("go", "build", "-o", a.plugin, "./testdata/authplugin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	a.rig = start(t, "one")
	must(t, a.rig.Hub.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: "one"}}))
	var err error
	a.one, err = a.rig.Fleet.Cluster("one")
	must(t, err)
	a.admin, err = a.one.Config()
	must(t, err)
	a.core, err = kubernetes.NewForConfig(a.admin)
	must(t, err)
	params := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: "argocd-cmd-params-cm"}}
	must(t, a.rig.Hub.Patch(t.Context(), params, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"data":{"server.cluster.exec.commands":%q}}`, a.plugin))))
	port := freePort(t)
	must(t, a.rig.Launch("--server", "--address", "127.0.0.1", "--port", port, "--insecure"))
	address := "127.0.0.1:" + port
	a.env = append(os.Environ(), "HOME="+dir, "ARGOCD_OPTS=--plaintext", "AUTHPLUGIN_TOKEN="+filepath.Join(dir, "token"), "AUTHPLUGIN_LOG="+filepath.Join(dir, "calls"))
	must(t, rig.Until(t.Context(), 90*time.Second, "the server takes the first password", func(ctx context.Context) (bool, error) {
		var first corev1.Secret
		if err := a.rig.Hub.Get(ctx, client.ObjectKey{Namespace: rig.Namespace, Name: "argocd-initial-admin-secret"}, &first); err != nil {
			return false, err
		}
		out, said, code := a.sluice("login", address, "--username", "admin", "--password", string(first.Data["password"]))
		if code != 0 {
			return false, errors.New(out + said)
		}
		return true, nil
	}))
	a.before = a.inventory()
	return a
}

// sluice runs the command line.
func (a *adding) sluice(args ...string) (out, said string, code int) {
	a.Helper()
	cmd := exec.CommandContext(a.Context(), filepath.Join(binaries(a.T), "sluice"), args...)
	cmd.Dir, cmd.Env = a.dir, a.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		a.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// runs is a call that succeeds and says all texts.
func (a *adding) runs(says []string, args ...string) string {
	a.Helper()
	out, said, code := a.sluice(args...)
	if code != 0 {
		a.Fatalf("sluice %v: exit code %d: %s%s", args, code, out, said)
	}
	for _, s := range says {
		if !strings.Contains(out+said, s) {
			a.Errorf("sluice %v does not say %q:\n%s%s", args, s, out, said)
		}
	}
	return out
}

// fails is a call that fails, says all texts, and writes nothing on the target.
func (a *adding) fails(code int, says []string, args ...string) {
	a.Helper()
	before := a.inventory()
	out, said, got := a.sluice(args...)
	if got != code {
		a.Errorf("sluice %v: exit code %d, want %d: %s%s", args, got, code, out, said)
	}
	for _, s := range says {
		if !strings.Contains(said, s) {
			a.Errorf("sluice %v does not say %q:\n%s", args, s, said)
		}
	}
	if after := a.inventory(); !slices.Equal(before, after) {
		a.Errorf("sluice %v failed and wrote: %q, before %q", args, after, before)
	}
}

// kubeconfig writes a kubeconfig with one context for the target, changed by
// the case, and gives its path.
func (a *adding) kubeconfig(name string, change func(c *api.Cluster, u *api.AuthInfo)) string {
	a.Helper()
	c := &api.Cluster{Server: a.one.Server, CertificateAuthorityData: a.admin.CAData}
	u := &api.AuthInfo{ClientCertificateData: a.admin.CertData, ClientKeyData: a.admin.KeyData}
	if change != nil {
		change(c, u)
	}
	file := filepath.Join(a.dir, name+".kubeconfig")
	must(a.T, clientcmd.WriteToFile(api.Config{
		Clusters: map[string]*api.Cluster{"c": c}, AuthInfos: map[string]*api.AuthInfo{"somebody": u}, CurrentContext: name,
		Contexts: map[string]*api.Context{name: {Cluster: "c", AuthInfo: "somebody"}},
	}, file))
	return file
}

// inventory names all accounts, roles, bindings and tokens of the target.
func (a *adding) inventory() []string {
	a.Helper()
	out := []string{}
	add := func(kind string, m metav1.ObjectMeta) { out = append(out, kind+" "+m.Namespace+"/"+m.Name) }
	accounts, err := a.core.CoreV1().ServiceAccounts("").List(a.Context(), metav1.ListOptions{})
	must(a.T, err)
	for _, o := range accounts.Items {
		if strings.Contains(o.Name, "-manager") {
			add("ServiceAccount", o.ObjectMeta)
		}
	}
	secrets, err := a.core.CoreV1().Secrets("").List(a.Context(), metav1.ListOptions{FieldSelector: "type=" + string(corev1.SecretTypeServiceAccountToken)})
	must(a.T, err)
	for _, o := range secrets.Items {
		add("Secret", o.ObjectMeta)
	}
	rbac := a.core.RbacV1()
	clusterRoles, err := rbac.ClusterRoles().List(a.Context(), metav1.ListOptions{})
	must(a.T, err)
	for _, o := range clusterRoles.Items {
		add("ClusterRole", o.ObjectMeta)
	}
	clusterBindings, err := rbac.ClusterRoleBindings().List(a.Context(), metav1.ListOptions{})
	must(a.T, err)
	for _, o := range clusterBindings.Items {
		add("ClusterRoleBinding", o.ObjectMeta)
	}
	roles, err := rbac.Roles("").List(a.Context(), metav1.ListOptions{})
	must(a.T, err)
	for _, o := range roles.Items {
		add("Role", o.ObjectMeta)
	}
	bindings, err := rbac.RoleBindings("").List(a.Context(), metav1.ListOptions{})
	must(a.T, err)
	for _, o := range bindings.Items {
		add("RoleBinding", o.ObjectMeta)
	}
	slices.Sort(out)
	return out
}

// made says what is on the target beyond what was there before any case.
func (a *adding) made(want ...string) {
	a.Helper()
	var got []string
	for _, one := range a.inventory() {
		if !slices.Contains(a.before, one) {
			got = append(got, one)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		a.Errorf("on the target are %q, want %q", got, want)
	}
}

// whole is what cluster add makes for the whole cluster.
var whole = []string{
	"ClusterRole /argocd-manager-role", "ClusterRoleBinding /argocd-manager-role-binding",
	"Secret kube-system/argocd-manager-long-lived-token", "ServiceAccount kube-system/argocd-manager",
}

// registered reads the Secret of a cluster on the hub.
func (a *adding) registered(name string) (*corev1.Secret, secretConfig) {
	a.Helper()
	var all corev1.SecretList
	must(a.T, a.rig.Hub.List(a.Context(), &all, client.InNamespace(rig.Namespace), client.MatchingLabels{v1alpha1.LabelSecretType: "cluster"}))
	for i := range all.Items {
		if string(all.Items[i].Data["name"]) == name {
			var c secretConfig
			must(a.T, json.Unmarshal(all.Items[i].Data["config"], &c))
			return &all.Items[i], c
		}
	}
	a.Fatalf("no Secret registers a cluster %s", name)
	return nil, secretConfig{}
}

// as is a client of the target with the token that the hub has.
func (a *adding) as(name string) kubernetes.Interface {
	a.Helper()
	_, c := a.registered(name)
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: a.one.Server, BearerToken: c.BearerToken, TLSClientConfig: rest.TLSClientConfig{CAData: a.admin.CAData}})
	must(a.T, err)
	return kube
}

// may asks the target what the token of a registration allows.
func (a *adding) may(name string, want bool, q authorizationv1.ResourceAttributes) {
	a.Helper()
	review, err := a.as(name).AuthorizationV1().SelfSubjectAccessReviews().Create(a.Context(),
		&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &q}}, metav1.CreateOptions{})
	must(a.T, err)
	if review.Status.Allowed != want {
		a.Errorf("%s may %s %s/%s in %q: %t, want %t", name, q.Verb, q.Group, q.Resource, q.Namespace, review.Status.Allowed, want)
	}
}

// refusedWrite tries to write a ConfigMap with the token of a registration.
func (a *adding) refusedWrite(name, namespace string) {
	a.Helper()
	_, err := a.as(name).CoreV1().ConfigMaps(namespace).Create(a.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "unwanted"}}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		a.Errorf("%s writes into namespace %s: %v", name, namespace, err)
	}
}

// syncs delivers an Application to a cluster by the name it is registered with,
// and takes the Application away again.
func (a *adding) syncs(name string) {
	a.Helper()
	good(a.T, a.rig, name, a.deploy(name, config1))
	a.drop(name)
}

// failsToSync waits for an operation that failed for a reason, and for the
// Application to be OutOfSync.
func (a *adding) failsToSync(name, why string) {
	a.Helper()
	must(a.T, rig.Until(a.Context(), 40*time.Second, name+" fails to sync: "+why, func(ctx context.Context) (bool, error) {
		app, err := get(ctx, a.rig, name)
		if err != nil {
			return false, err
		}
		text := fmt.Sprint(app.Status.Conditions)
		if op := app.Status.OperationState; op != nil {
			text += string(op.Phase) + " " + op.Message
			if op.SyncResult != nil {
				raw, err := json.Marshal(op.SyncResult)
				if err != nil {
					return false, err
				}
				text += string(raw)
			}
		}
		if app.Status.Sync.Status != v1alpha1.SyncStatusOutOfSync || !strings.Contains(text, why) {
			return false, fmt.Errorf("%s, %s", app.Status.Sync.Status, text)
		}
		return true, nil
	}))
}

func (a *adding) drop(name string) {
	a.Helper()
	must(a.T, a.rig.Hub.Delete(a.Context(), &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: name}}))
}

// space makes a namespace on the target.
func (a *adding) space(name string) {
	a.Helper()
	_, err := a.core.CoreV1().Namespaces().Create(a.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(a.T, err)
}

// removes takes a cluster away, with all that was made for it.
func (a *adding) removes(name, kubeconfig string, more ...string) {
	a.Helper()
	a.runs([]string{"Cluster '" + name + "' removed"}, append([]string{"cluster", "rm", name, "-y", "--kubeconfig", kubeconfig}, more...)...)
	a.made()
	if _, _, code := a.sluice("cluster", "get", name); code != 20 {
		a.Errorf("cluster %s is still there", name)
	}
}

// reset takes away what a case that failed has left, so that the next one tells
// of itself.
func (a *adding) reset() {
	ctx := a.Context()
	_ = a.rig.Hub.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(rig.Namespace), client.MatchingLabels{v1alpha1.LabelSecretType: "cluster"})
	_ = a.rig.Hub.DeleteAllOf(ctx, &v1alpha1.Application{}, client.InNamespace(rig.Namespace))
	for _, one := range a.inventory() {
		kind, name, _ := strings.Cut(one, " ")
		if namespace, name, _ := strings.Cut(name, "/"); !slices.Contains(a.before, one) {
			_, _ = kubectl(a.T, a.rig, "one", "delete", kind, name, "-n", cmp.Or(namespace, "default"))
		}
	}
}

// rulesOf are the rules of the ClusterRole that cluster add makes.
func (a *adding) rulesOf() []rbacv1.PolicyRule {
	a.Helper()
	one, err := a.core.RbacV1().ClusterRoles().Get(a.Context(), "argocd-manager-role", metav1.GetOptions{})
	must(a.T, err)
	return one.Rules
}

// basic admits a user with a password, and tokens; API servers themselves no
// longer know passwords.
func basicOrToken(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	return ok && user == "admin" && password == "s3cret,word" || !ok && token != "" && err == nil
}

// authPlugin is a user of a kubeconfig that logs in with a program.
func (a *adding) authPlugin() *api.ExecConfig {
	return &api.ExecConfig{
		Command: a.plugin, APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: api.NeverExecInteractiveMode, ProvideClusterInfo: true,
		Env: []api.ExecEnvVar{{Name: "AUTHPLUGIN_TOKEN", Value: filepath.Join(a.dir, "token")}, {Name: "AUTHPLUGIN_LOG", Value: filepath.Join(a.dir, "calls")}},
	}
}

// lacks says that nothing that was printed or logged holds a secret.
func (a *adding) lacks(text string, secrets ...string) {
	a.Helper()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			a.Errorf("a secret is shown: %s", fmt.Sprint(len(s), " characters"))
		}
	}
}
