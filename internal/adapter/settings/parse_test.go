package settings_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
)

func secret(kind, name string, data ...string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"argocd.argoproj.io/secret-type": kind, "env": "prod"}}, Data: map[string][]byte{}}
	for _, d := range data {
		k, v, _ := strings.Cut(d, "=")
		s.Data[k] = []byte(v)
	}
	return s
}

func config(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
}

func TestClusters(t *testing.T) {
	s := settings.Parse([]*corev1.Secret{
		secret("cluster", "b", "server=https://b/", "name=beta", "namespaces=x, y", "project=team"),
		secret("cluster", "a", "server=https://a"),
		secret("cluster", "twin", "server=https://b", "name=again"),
		secret("cluster", "empty", "name=e", "config=s3cret"),
	}, nil)
	var got []string
	for _, c := range s.Clusters {
		got = append(got, c.Name+"@"+c.Server+" "+strings.Join(c.Namespaces, "+")+" "+c.Project+" "+c.Labels["env"])
	}
	want := "beta@https://b x+y team prod, https://a@https://a   prod, in-cluster@https://kubernetes.default.svc   "
	if strings.Join(got, ", ") != want {
		t.Errorf("clusters %q, want %q", strings.Join(got, ", "), want)
	}
	if len(s.Problems) != 2 || s.Problems[0].Object != "Secret/empty" || s.Problems[1].Object != "Secret/twin" {
		t.Errorf("problems %v", s.Problems)
	}
	if len(s.Unusable) != 2 || s.Unusable[0].SecretName != "empty" || s.Unusable[1].SecretName != "twin" || s.Unusable[0].Labels["env"] != "prod" || len(s.Unusable[0].Config) > 0 {
		t.Errorf("unusable %v", s.Unusable)
	}
	for _, p := range s.Problems {
		if !strings.Contains(p.Message, `key "server"`) || strings.Contains(p.Message, "s3cret") {
			t.Errorf("problem %q does not name the key, or shows a value", p.Message)
		}
	}
}

func TestHubCanBeSwitchedOff(t *testing.T) {
	s := settings.Parse(nil, []*corev1.ConfigMap{config("argocd-cm", map[string]string{"cluster.inClusterEnabled": "false"})})
	if len(s.Clusters) != 0 {
		t.Errorf("clusters %v", s.Clusters)
	}
}

func TestRepositories(t *testing.T) {
	s := settings.Parse([]*corev1.Secret{
		secret("repo-creds", "host", "url=https://git/", "username=host", "password=h"),
		secret("repo-creds", "acme", "url=https://git/acme/", "username=acme", "password=a"),
		secret("repository", "shop", "url=https://git/acme/shop.git", "username=shop", "password=s"),
		secret("repository", "scoped", "url=https://git/acme/shop", "username=team", "password=t", "project=team"),
		secret("repository", "bare", "url=https://git/acme/bare"),
	}, nil)
	for _, c := range []struct{ url, project, user string }{
		{"https://git/acme/shop", "default", "shop"},
		{"https://git/acme/SHOP.git", "default", "shop"},
		{"https://git/acme/shop", "team", "team"},
		{"https://git/acme/bare", "default", "acme"},
		{"https://git/acme/undeclared", "default", "acme"},
		{"https://git/other", "default", "host"},
		{"https://elsewhere/x", "default", ""},
	} {
		if got := s.Repository(c.url, c.project).Username; got != c.user {
			t.Errorf("%s for project %s: user %q, want %q", c.url, c.project, got, c.user)
		}
	}
}

func TestDuration(t *testing.T) {
	s := settings.Parse(nil, []*corev1.ConfigMap{config("argocd-cm", map[string]string{"good": "90s", "bad": "soon"})})
	if d, err := s.Duration("good", time.Hour); err != nil || d != 90*time.Second {
		t.Errorf("%s, %v", d, err)
	}
	if d, err := s.Duration("absent", time.Hour); err != nil || d != time.Hour {
		t.Errorf("%s, %v", d, err)
	}
	if _, err := s.Duration("bad", time.Hour); err == nil || !strings.Contains(err.Error(), "bad") {
		t.Errorf("error %v does not name the key", err)
	}
}

func TestParams(t *testing.T) {
	s := settings.Parse(nil, []*corev1.ConfigMap{config("argocd-cmd-params-cm", map[string]string{"d": "90s", "n": " 7 ", "bad": "soon", "less": "-1"})})
	if d, err := s.ParamDuration("d", 0); d != 90*time.Second || err != nil {
		t.Errorf("%s, %v", d, err)
	}
	if n, err := s.ParamInt("n", 0); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, key := range []string{"bad", "less"} {
		if d, err := s.ParamDuration(key, time.Hour); d != time.Hour || err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %s, %v", key, d, err)
		}
		if n, err := s.ParamInt(key, 3); n != 3 || err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %d, %v", key, n, err)
		}
	}
	if d, err := s.ParamDuration("absent", time.Hour); d != time.Hour || err != nil {
		t.Errorf("%s, %v", d, err)
	}
}

// TestProjectsTakeOver: repositories of one project alone and global projects
// are given to whom they belong; a rule that cannot be followed is named.
func TestProjectsTakeOver(t *testing.T) {
	s := settings.Parse([]*corev1.Secret{
		secret("repository", "own", "url=https://git/own/app", "project=team"),
		secret("repository", "all", "url=https://git/all/app"),
	}, []*corev1.ConfigMap{config("argocd-cm", map[string]string{"globalProjects": "- {projectName: corporate, labelSelector: {}}\n- {labelSelector: {}}"})})
	if len(s.Problems) != 1 || s.Problems[0].Object != "ConfigMap/argocd-cm" || !strings.Contains(s.Problems[0].Message, "globalProjects[1].projectName is empty") {
		t.Errorf("problems %+v", s.Problems)
	}
	corporate := &v1alpha1.AppProject{Spec: v1alpha1.AppProjectSpec{SourceRepos: []string{"https://git/corporate/*"}}}
	for name, want := range map[string][]string{"team": {"https://git/own/app", "https://git/corporate/*"}, "other": {"https://git/corporate/*"}} {
		p := &v1alpha1.AppProject{}
		p.Name = name
		if got := s.Effective(p, func(string) *v1alpha1.AppProject { return corporate }).Spec.SourceRepos; !slices.Equal(got, want) {
			t.Errorf("%s may read %v, want %v", name, got, want)
		}
		if got := s.Globals(p); !slices.Equal(got, []string{"corporate"}) {
			t.Errorf("%s takes over from %v", name, got)
		}
	}
}
