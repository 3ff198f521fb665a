package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/chaos"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// forms registers one API server under many addresses, each with another form
// of credentials.
type forms struct {
	*testing.T
	rig    *rig.Rig
	one    fleet.Cluster
	admin  *rest.Config
	core   kubernetes.Interface
	plugin string
	calls  string //nolint:unused // the soak uses it
	token  string //nolint:unused // the soak uses it
	// refused tokens are no longer accepted at the wire.
	mu      sync.Mutex
	refused map[string]bool
}

// account makes a service account with a role and gives its token.
func (f *forms) account(name string, namespaces ...string) string {
	f.Helper()
	ctx := f.Context()
	_, err := f.core.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(f.T, err)
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: "default"}}
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}
	if len(namespaces) == 0 {
		_, err = f.core.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: role, Subjects: subjects}, metav1.CreateOptions{})
		must(f.T, err)
	}
	for _, n := range namespaces {
		_, err = f.core.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n}}, metav1.CreateOptions{})
		must(f.T, err)
		_, err = f.core.RbacV1().RoleBindings(n).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: role, Subjects: subjects}, metav1.CreateOptions{})
		must(f.T, err)
	}
	request, err := f.core.CoreV1().ServiceAccounts("default").CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(f.T, err)
	return request.Status.Token
}

// door is an address of the API server of its own.
func (f *forms) door(authorize func(*http.Request) bool) *chaos.Proxy {
	f.Helper()
	p, err := chaos.New(chaos.Options{Target: f.admin, Authorize: authorize})
	must(f.T, err)
	f.Cleanup(p.Close)
	p.Add(chaos.Rule{
		Match: func(r *http.Request) bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.refused[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		},
		Do: chaos.Refuse(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized"),
	})
	return p
}

// register writes the Secret of a cluster.
func (f *forms) register(name, server string, config map[string]any, more map[string]string) {
	f.Helper()
	raw, err := json.Marshal(config)
	must(f.T, err)
	data := map[string]string{"name": name, "server": server, "config": string(raw)}
	for k, v := range more {
		data[k] = v
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: rig.Namespace, Labels: map[string]string{v1alpha1.LabelSecretType: "cluster"}}, StringData: data}
	must(f.T, f.rig.Hub.Create(f.Context(), secret))
}

// secret changes the config of a registered cluster.
func (f *forms) secret(name string, config map[string]any) {
	f.Helper()
	raw, err := json.Marshal(config)
	must(f.T, err)
	patch, err := json.Marshal(map[string]any{"stringData": map[string]string{"config": string(raw)}})
	must(f.T, err)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: rig.Namespace}}
	must(f.T, f.rig.Hub.Patch(f.Context(), s, client.RawPatch(types.MergePatchType, patch)))
}

const formApp = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: %[1]s}
spec:
  project: default
  source: {repoURL: %[2]q, targetRevision: main, path: apps/%[1]s}
  destination: {name: %[1]s, namespace: %[1]s}
  syncPolicy: {automated: {prune: true, selfHeal: true}, syncOptions: [CreateNamespace=true]}
`

func (f *forms) deploy(name, objects string) string {
	f.Helper()
	id := f.commit(name, objects)
	must(f.T, f.rig.Apply(f.Context(), fmt.Sprintf(formApp, name, f.rig.Git.URL("gitops-fleet")), &v1alpha1.Application{}))
	return id
}

func (f *forms) commit(name, objects string) string {
	f.Helper()
	id, err := f.rig.Repo.Commit(name, gitserver.Files{"apps/" + name + "/all.yaml": objects})
	must(f.T, err)
	return id
}

// writers are the users that wrote into a namespace through Sluice.
func (f *forms) writers(namespace string) []string {
	f.Helper()
	lines, err := f.one.AuditLines()
	must(f.T, err)
	var out []string
	for _, a := range lines {
		if ours(a) && a.Write() && a.ObjectRef.Namespace == namespace && !slices.Contains(out, a.User.Username) {
			out = append(out, a.User.Username)
		}
	}
	return out
}

func config(v string) string { return fmt.Sprintf(configMap, v) }

func tlsOf(p *chaos.Proxy, fields map[string]any) map[string]any {
	out := map[string]any{"tlsClientConfig": map[string]any{"caData": p.CA()}}
	for k, v := range fields {
		out[k] = v
	}
	return out
}

var config1 = config("1")
