package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// hubState is what the hub of TestAdministration holds; no controller runs there.
const hubState = `apiVersion: v1
kind: Secret
metadata: {namespace: argocd, name: prod, labels: {argocd.argoproj.io/secret-type: cluster}}
stringData: {name: prod, server: https://prod.example.com, shard: "1", config: '{"bearerToken": "t", "tlsClientConfig": {"insecure": true}}'}
---
apiVersion: v1
kind: Secret
metadata: {namespace: argocd, name: staging, labels: {argocd.argoproj.io/secret-type: cluster}}
stringData: {name: staging, server: https://staging.example.com, config: '{}'}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {namespace: argocd, name: team}
spec:
  sourceNamespaces: [team-a]
  roles:
  - {name: ci, groups: [builders], policies: ["p, proj:team:ci, applications, get, team/*, allow"]}
  - {name: reader, policies: ["p, proj:team:reader, applications, get, team/*, allow"]}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {namespace: argocd, name: web}
spec: {project: team, source: {repoURL: https://git.example.com/a.git, path: web}, destination: {name: prod, namespace: web}}
status:
  resources:
  - {kind: ConfigMap, namespace: web, name: a}
  - {kind: ConfigMap, namespace: web, name: b}
  - {kind: Secret, namespace: shared, name: c}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: api, namespace: team-a}
spec: {project: team, source: {repoURL: https://git.example.com/a.git, path: api}, destination: {server: https://staging.example.com, namespace: api}}
status: {resources: [{kind: ConfigMap, namespace: api, name: a}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {namespace: argocd, name: argocd-notifications-cm}
data:
  trigger.on-sync: '[{when: "true", send: [app-synced]}]'
  template.app-synced: 'message: "{{.app.metadata.name}} {{.appProject.metadata.name}} {{.secrets.token | toString}}"'
---
apiVersion: v1
kind: Secret
metadata: {namespace: argocd, name: argocd-notifications-secret}
stringData: {token: t0ken}
---
apiVersion: v1
kind: Secret
metadata: {namespace: argocd, name: argocd-initial-admin-secret}
stringData: {password: s3cret}
`

// desk runs commands of administrators against a hub.
type desk struct {
	*testing.T
	r   *rig.Rig
	dir string
}

// says runs a command of the group admin that must succeed, and compares all it
// says.
func (d *desk) says(want string, args ...string) {
	d.Helper()
	out, err := d.r.Sluice(d.Context(), append([]string{"admin"}, args...)...)
	if err != nil {
		d.Errorf("admin %s: %v", strings.Join(args, " "), err)
	}
	if diff := cmp.Diff(want, out); diff != "" {
		d.Errorf("admin %s: %s", strings.Join(args, " "), diff)
	}
}

// refuses runs a command of the group admin that must fail and name this.
func (d *desk) refuses(text string, args ...string) {
	d.Helper()
	out, err := d.r.Sluice(d.Context(), append([]string{"admin"}, args...)...)
	if err == nil || !strings.Contains(out, text) {
		d.Errorf("admin %s: %v: want %q in: %s", strings.Join(args, " "), err, text, out)
	}
}

func (d *desk) file(name, text string) string {
	d.Helper()
	name = filepath.Join(d.dir, name)
	must(d.T, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// TestAdministration runs the verbs for those who run a hub against one.
func TestAdministration(t *testing.T) {
	d := &desk{T: t, r: start(t, ""), dir: t.TempDir()}
	must(t, d.r.Hub.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}}))
	if out, err := kubectl(t, d.r, "hub", "apply", "-f", d.file("hub.yaml", hubState)); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.rehearsal()
	d.clusters()
	d.credentials()
	d.roles()
	d.settings()
	d.backups()
}

// rehearsal tries notifications, and reconciliation: nobody has compared the
// Applications; this process does, and says why it cannot.
func (d *desk) rehearsal() {
	d.says("applications:\n- health: {}\n  name: web\n  sync:\n    comparedTo:\n      destination: {}\n      source:\n        repoURL: \"\"\n    status: \"\"\n", "app", "get-reconcile-results", "-")
	d.says("CONDITION  RESULT  TEMPLATES   ONCE PER  MESSAGE\ntrue       true    app-synced            \n", "notifications", "trigger", "run", "on-sync", "web")
	d.says("message: web team t0ken\n", "notifications", "template", "notify", "app-synced", "web")
	d.says("message: api team <nil>\n", "notifications", "template", "notify", "app-synced", "team-a/api", "--secret", ":empty")
	d.refuses("applications.argoproj.io \\\"wob\\\" not found", "notifications", "template", "notify", "app-synced", "wob")
	d.says("applications: []\n", "app", "get-reconcile-results", "-", "-l", "no=such")
	out, err := d.r.Sluice(d.Context(), "admin", "app", "get-reconcile-results", "-", "--refresh")
	if err != nil || !strings.Contains(out, "type: InvalidSpecError") || !strings.Contains(out, "is not permitted in project") || !strings.Contains(out, "status: Unknown") {
		d.Errorf("%v: %s", err, out)
	}
	var app v1alpha1.Application
	must(d.T, d.r.Hub.Get(d.Context(), client.ObjectKey{Namespace: "argocd", Name: "web"}, &app))
	if len(app.Status.Conditions) > 0 || app.Status.Sync.Status != "" {
		d.Errorf("a rehearsal wrote a status: %+v", app.Status)
	}
}

func (d *desk) clusters() {
	d.says(`SERVER                          SHARD  CONNECTION  NAMESPACES COUNT  APPS COUNT  RESOURCES COUNT
https://kubernetes.default.svc  -      Unknown     0                 0           0
https://prod.example.com        1      Unknown     2                 1           3
https://staging.example.com     -      Unknown     1                 1           1
`, "cluster", "stats")
	d.says("SHARD  RESOURCES COUNT\n1      3 (75%)\n-      1 (25%)\n", "cluster", "shards")
	d.says(`CLUSTER                         NAMESPACES
https://kubernetes.default.svc  
https://prod.example.com        shared,web
https://staging.example.com     api
`, "cluster", "namespaces")
	d.says("https://prod.example.com: namespaces shared,web (dry run)\n", "cluster", "enable-namespaced-mode", "https://prod*")
	if s := secretOf(d.T, d.r, "prod"); s.Data["namespaces"] != nil {
		d.Errorf("a dry run wrote namespaces %s", s.Data["namespaces"])
	}
	d.says("https://kubernetes.default.svc: left alone: it is the hub, which no Secret declares\nhttps://prod.example.com: left alone: 2 of its namespaces are used\nhttps://staging.example.com: namespaces api\n",
		"cluster", "enable-namespaced-mode", "*", "--dry-run=false", "--namespace-count", "1", "--cluster-resources")
	if s := secretOf(d.T, d.r, "staging"); string(s.Data["namespaces"]) != "api" || string(s.Data["clusterResources"]) != "true" {
		d.Errorf("the registration is %s, %s", s.Data["namespaces"], s.Data["clusterResources"])
	}
	d.says("https://staging.example.com: all namespaces\n", "cluster", "disable-namespaced-mode", "https://staging*", "--dry-run=false")
	if s := secretOf(d.T, d.r, "staging"); s.Data["namespaces"] != nil || s.Data["clusterResources"] != nil {
		d.Errorf("the registration is %s, %s", s.Data["namespaces"], s.Data["clusterResources"])
	}
	d.refuses("no cluster has a server like", "cluster", "disable-namespaced-mode", "https://nobody")
}

// credentials proves that a kubeconfig and a declaration open a real cluster.
func (d *desk) credentials() {
	must(d.T, d.r.Register(d.Context(), d.r.HubPart))
	file := filepath.Join(d.dir, "kubeconfig")
	d.says("", "cluster", "kubeconfig", d.r.HubPart.Server, file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		d.Errorf("the kubeconfig has mode %v (%v)", info.Mode().Perm(), err)
	}
	d.refuses("no Secret declares a cluster https://nobody", "cluster", "kubeconfig", "https://nobody", file)
	again := exec.CommandContext(d.Context(), filepath.Join(binaries(d.T), "sluice"), "admin", "notifications", "trigger", "get", "--kubeconfig", file)
	if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "on-sync") {
		d.Errorf("with the kubeconfig that was written: %v: %s", err, out)
	}

	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "argocd-manager"}}
	must(d.T, d.r.Hub.Create(d.Context(), account))
	raw, err := os.ReadFile(d.r.HubPart.Kubeconfig)
	must(d.T, err)
	var contexts struct {
		Current string `json:"current-context"`
	}
	must(d.T, yaml.Unmarshal(raw, &contexts))
	generate := exec.CommandContext(d.Context(), filepath.Join(binaries(d.T), "sluice"), "admin", "cluster", "generate-spec", contexts.Current, "--kubeconfig", d.r.HubPart.Kubeconfig, "--generate-bearer-token")
	out, err := generate.Output()
	must(d.T, err)
	var declared corev1.Secret
	must(d.T, yaml.UnmarshalStrict(out, &declared))
	var config struct {
		BearerToken     string `json:"bearerToken"`
		TLSClientConfig struct {
			CAData []byte `json:"caData"`
		} `json:"tlsClientConfig"`
	}
	must(d.T, json.Unmarshal([]byte(declared.StringData["config"]), &config))
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: declared.StringData["server"], BearerToken: config.BearerToken, TLSClientConfig: rest.TLSClientConfig{CAData: config.TLSClientConfig.CAData}})
	must(d.T, err)
	who, err := kube.AuthenticationV1().SelfSubjectReviews().Create(d.Context(), &authv1.SelfSubjectReview{}, metav1.CreateOptions{})
	must(d.T, err)
	if name := who.Status.UserInfo.Username; name != "system:serviceaccount:kube-system:argocd-manager" {
		d.Errorf("the declared cluster knows us as %s", name)
	}
}

func (d *desk) roles() {
	role := d.file("role.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: deployer}\nrules:\n- {apiGroups: [apps], resources: [deployments], verbs: ['*']}\n- {apiGroups: [''], resources: [namespaces, configmaps, pods/log], verbs: [create]}\n")
	d.says(`apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata:
  name: deployers
spec:
  clusterResourceWhitelist:
  - group: ""
    kind: Namespace
  namespaceResourceWhitelist:
  - group: ""
    kind: ConfigMap
  - group: apps
    kind: Deployment
`, "proj", "generate-allow-list", role, "deployers")
	const line = "+ p, proj:team:ci, applications, sync, team/*, allow\n"
	d.says("team (dry run)\n"+line, "proj", "update-role-policy", "*", "set", "sync", "--resource", "applications", "--group", "builders")
	d.says("team\n"+line, "proj", "update-role-policy", "t*", "set", "sync", "--resource", "applications", "--role", "c*", "--dry-run=false")
	d.says("", "proj", "update-role-policy", "t*", "set", "sync", "--resource", "applications", "--role", "c*", "--dry-run=false")
	var p v1alpha1.AppProject
	must(d.T, d.r.Hub.Get(d.Context(), client.ObjectKey{Namespace: rig.Namespace, Name: "team"}, &p))
	if n := len(p.Spec.Roles[0].Policies); n != 2 || len(p.Spec.Roles[1].Policies) != 1 {
		d.Errorf("the roles are %+v", p.Spec.Roles)
	}
}

func (d *desk) settings() {
	setting(d.T, d.r, "exec.enabled", "maybe")
	d.refuses(`key exec.enabled is "maybe"`, "settings", "validate")
	setting(d.T, d.r, "exec.enabled", "true")
	d.says("✅ general\nSSO is not configured\nurl is not set\n", "settings", "validate", "--group", "general")
	d.says("Yes\n", "settings", "rbac", "can", "role:admin", "delete", "applications", "team/web")
	d.refuses("No", "settings", "rbac", "can", "role:readonly", "delete", "applications", "team/web")
	d.says("Policy is valid.\n", "settings", "rbac", "validate")
	d.says("NAME     TEMPLATES   CONDITION\non-sync  app-synced  true\n", "notifications", "trigger", "get")
	d.says("Secret argocd/argocd-redis, key auth: made\n", "redis-initial-password")
	password := secretOf(d.T, d.r, "argocd-redis").Data["auth"]
	d.says("Secret argocd/argocd-redis, key auth: there already\n", "redis-initial-password")
	if again := secretOf(d.T, d.r, "argocd-redis").Data["auth"]; len(password) != 16 || string(again) != string(password) {
		d.Errorf("the password of Redis has %d characters, then %d", len(password), len(again))
	}
	out, err := d.r.Sluice(d.Context(), "admin", "initial-password")
	if err != nil || !strings.HasPrefix(out, "s3cret\n") {
		d.Errorf("initial-password: %v: %s", err, out)
	}
}

// backups knows Applications outside of the control plane by argocd-cmd-params-cm,
// and writes nothing when a namespace is missing.
func (d *desk) backups() {
	out, err := d.r.Sluice(d.Context(), "admin", "export")
	must(d.T, err)
	if strings.Contains(out, "namespace: team-a") || strings.Contains(out, "argocd-redis") || strings.Contains(out, "argocd-initial-admin-secret") {
		d.Errorf("the backup holds what is not asked for, or what every hub makes itself")
	}
	params := &corev1.ConfigMap{}
	must(d.T, d.r.Hub.Get(d.Context(), client.ObjectKey{Namespace: rig.Namespace, Name: "argocd-cmd-params-cm"}, params))
	params.Data = map[string]string{"application.namespaces": "team-*"}
	must(d.T, d.r.Hub.Update(d.Context(), params))
	out, err = d.r.Sluice(d.Context(), "admin", "export")
	must(d.T, err)
	if !strings.Contains(out, "namespace: team-a") {
		d.Errorf("an Application in a namespace of the settings is not in the backup:\n%s", out)
	}
	file := d.file("backup.yaml", out)
	d.refuses("these namespaces of the backup do not exist: team-b", "import", d.file("other.yaml", strings.ReplaceAll(out, "namespace: team-a", "namespace: team-b")))
	var app v1alpha1.Application
	must(d.T, d.r.Hub.Get(d.Context(), client.ObjectKey{Namespace: "team-a", Name: "api"}, &app))
	must(d.T, d.r.Hub.Delete(d.Context(), &app))
	out, err = d.r.Sluice(d.Context(), "admin", "import", file)
	if err != nil || !strings.Contains(out, "argoproj.io/Application api in namespace team-a created") || strings.Contains(out, "updated") {
		d.Errorf("the import: %v: %s", err, out)
	}
	d.refuses("which no backup holds", "import", d.file("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"))
	d.refuses("these namespaces of the backup do not exist: absent", "import", file, "--namespace", "absent")
}
