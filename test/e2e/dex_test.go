package e2e

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"html"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/test/rig"
)

// dexConfig is what an operator writes: people of Dex itself, a connector that
// gives groups, and one whose password is in a Secret, with dollars that Dex
// must not expand. ID tokens end soon.
const dexConfig = `
expiry: {idTokens: 6s}
enablePasswordDB: true
staticPasswords:
- {email: ann@example.com, username: ann, userID: ann-1, hash: '%s'}
connectors:
- {type: mockCallback, id: mock, name: Authors, config: {}}
- {type: mockPassword, id: desk, name: Desk, config: {username: kilgore, password: $dex.desk}}
`

const deskPassword = "tr$HOME$ut"

// dexed is a server with a real Dex beside it.
type dexed struct {
	*apiServer
	r *rig.Rig
}

// TestDex logs in through /api/dex of a server at a real Dex that runs with the
// configuration that gendexcfg writes.
func TestDex(t *testing.T) {
	r := start(t, "")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	d := &dexed{serve(t, r, "--dex-server", "https://"+address), r}
	hash, err := bcrypt.GenerateFromPassword([]byte("of ann"), 10) // Dex takes no cheaper one
	must(t, err)
	config, err := json.Marshal(map[string]any{"data": map[string]string{"url": d.base, "dex.config": fmt.Sprintf(dexConfig, hash)}})
	must(t, err)
	patched(t, r, &corev1.Secret{}, "argocd-secret", `{"stringData":{"dex.desk":"`+deskPassword+`"}}`)
	patched(t, r, &corev1.ConfigMap{}, "argocd-cm", string(config))
	policies := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: "argocd-rbac-cm"}}
	must(t, client.IgnoreAlreadyExists(r.Hub.Create(t.Context(), policies)))
	patched(t, r, &corev1.ConfigMap{}, "argocd-rbac-cm", `{"data":{"scopes":"[groups, email]","policy.csv":"p, authors, projects, get, *, allow\ng, authors, role:none\np, role:ann, projects, get, *, allow\ng, ann@example.com, role:ann"}}`)
	d.start(address)
	must(t, rig.Until(t.Context(), 20*time.Second, "people may log in at Dex", func(ctx context.Context) (bool, error) {
		status, answer, err := d.ask(ctx, "", "GET", "/api/v1/settings", "")
		return status == 200 && strings.Contains(answer, `"connectors":[`), err
	}))
	t.Run("groups", d.groups)
	t.Run("email", d.email)
	t.Run("secret", d.secret)
	t.Run("wrong", d.wrong)
	t.Run("command line", d.commandLine)
	log, err := os.ReadFile(r.Log())
	must(t, err)
	for _, secret := range []string{deskPassword, "of ann", string(hash), "eyJ"} {
		if strings.Contains(string(log), secret) {
			t.Errorf("the log shows %s", secret)
		}
	}
}

// start runs Dex with what gendexcfg writes; only its addresses and files are
// those of this test.
func (d *dexed) start(address string) {
	d.t.Helper()
	dir := d.t.TempDir()
	file := filepath.Join(dir, "dex.yaml")
	if out, err := exec.Command(filepath.Join(binaries(d.t), "sluice"), "gendexcfg", "--kubeconfig", d.r.HubPart.Kubeconfig, "-o", file).CombinedOutput(); err != nil {
		d.t.Fatalf("gendexcfg: %v: %s", err, out)
	}
	raw, err := os.ReadFile(file)
	must(d.t, err)
	var tree map[string]any
	must(d.t, yaml.Unmarshal(raw, &tree))
	web, ok := tree["web"].(map[string]any)
	if !ok || web["https"] != "0.0.0.0:5556" {
		d.t.Fatalf("Dex would serve at %v", tree["web"])
	}
	certificate, key := selfSigned(d.t, dir)
	tree["web"] = map[string]any{"https": address, "tlsCert": certificate, "tlsKey": key}
	delete(tree, "grpc")
	delete(tree, "telemetry")
	raw, err = yaml.Marshal(tree)
	must(d.t, err)
	must(d.t, os.WriteFile(file, raw, 0o600))
	log, err := os.Create(filepath.Join(dir, "dex.log"))
	must(d.t, err)
	defer log.Close()
	cmd := exec.Command(filepath.Join(binaries(d.t), "dex"), "serve", file)
	cmd.Env = append(os.Environ(), "DEX_EXPAND_ENV=false")
	cmd.Stdout, cmd.Stderr = log, log
	must(d.t, cmd.Start())
	d.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if d.t.Failed() {
			raw, _ := os.ReadFile(log.Name())
			d.t.Logf("Dex:\n%s", raw[max(0, len(raw)-4000):])
		}
	})
	must(d.t, rig.Until(d.t.Context(), 30*time.Second, "Dex answers through the server", func(ctx context.Context) (bool, error) {
		status, answer, err := d.ask(ctx, "", "GET", "/api/dex/.well-known/openid-configuration", "")
		return status == 200 && strings.Contains(answer, `"issuer": "`+d.base+`/api/dex"`), err
	}))
}

// selfSigned writes a certificate of 127.0.0.1 as the process beside Dex makes
// it, and its key.
func selfSigned(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	raw, err := x509.MarshalECPrivateKey(private)
	must(t, err)
	certificate, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	must(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600))
	return certificate, key
}

// person is somebody at a browser.
type person struct {
	connector, name, password string
}

// browser keeps cookies and shows each redirect.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

var (
	dexForm   = regexp.MustCompile(`<form method="post" action="([^"]+)"`)
	dexChoice = regexp.MustCompile(`<a href="([^"]+)"`)
	errDex    = errors.New("Dex refuses the password")
)

// walk follows redirects and fills in the pages of Dex, until it is sent to an
// address that does not belong to the server, or beyond the login.
func (p person) walk(b *http.Client, from string, done func(*url.URL) bool) (*url.URL, error) {
	at, err := url.Parse(from)
	body := url.Values(nil)
	for step := 0; err == nil && step < 20; step++ {
		if done(at) {
			return at, nil
		}
		var res *http.Response
		if body == nil {
			res, err = b.Get(at.String())
		} else {
			res, err = b.PostForm(at.String(), body)
		}
		if err != nil {
			return nil, err
		}
		raw, broken := io.ReadAll(res.Body)
		if err = errors.Join(broken, res.Body.Close()); err != nil {
			return nil, err
		}
		next := res.Header.Get("Location")
		sent := body != nil
		body = nil
		switch action := dexForm.FindSubmatch(raw); {
		case next != "":
		case action != nil && sent:
			return nil, errDex
		case action != nil:
			next, body = string(action[1]), url.Values{"login": {p.name}, "password": {p.password}}
		default:
			for _, choice := range dexChoice.FindAllSubmatch(raw, -1) {
				if strings.Contains(string(choice[1]), "/auth/"+p.connector+"?") {
					next = string(choice[1])
				}
			}
		}
		if next == "" {
			return nil, fmt.Errorf("%s answers %s: %.500s", at, res.Status, raw)
		}
		at, err = at.Parse(html.UnescapeString(next))
	}
	return nil, errors.Join(errors.New("the login goes round in circles"), err)
}

// login walks through a login in a browser.
func (d *dexed) login(t *testing.T, p person) *http.Client {
	t.Helper()
	b := browser(t)
	want := d.base + "/applications"
	if _, err := p.walk(b, d.base+"/auth/login?return_url="+url.QueryEscape(want), func(u *url.URL) bool { return u.String() == want }); err != nil {
		t.Fatal(err)
	}
	return b
}

// known is who the server says that somebody is.
type known struct {
	LoggedIn bool
	Username string
	Iss      string
	Groups   []string
}

func (d *dexed) who(t *testing.T, b *http.Client) known {
	t.Helper()
	var out known
	must(t, json.Unmarshal([]byte(d.browse(t, b, "/api/v1/session/userinfo")), &out))
	return out
}

func (d *dexed) browse(t *testing.T, b *http.Client, path string) string {
	t.Helper()
	res, err := b.Get(d.base + path)
	must(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	must(t, err)
	return string(raw)
}

func (d *dexed) cookie(b *http.Client) string {
	base, _ := url.Parse(d.base)
	out := ""
	for _, c := range b.Jar.Cookies(base) {
		if c.Name == "argocd.token" {
			out = c.Value
		}
	}
	return out
}

// groups of a connector count, and a login is refreshed when its token ends.
func (d *dexed) groups(t *testing.T) {
	b := d.login(t, person{connector: "mock"})
	who := d.who(t, b)
	if !who.LoggedIn || who.Username != "kilgore@kilgore.trout" || !slices.Equal(who.Groups, []string{"authors", "kilgore@kilgore.trout"}) || who.Iss != d.base+"/api/dex" {
		t.Errorf("logged in as %+v", who)
	}
	if answer := d.browse(t, b, "/api/v1/projects"); !strings.Contains(answer, `"name":"default"`) {
		t.Errorf("projects: %s", answer)
	}
	first := d.cookie(b)
	must(t, rig.Until(t.Context(), 30*time.Second, "the login is refreshed", func(context.Context) (bool, error) {
		if who := d.who(t, b); !who.LoggedIn {
			return false, fmt.Errorf("the login has ended: %+v", who)
		}
		return d.cookie(b) != first, nil
	}))
	d.expect(first, "GET", "/api/v1/projects", "", 401) // it has ended, and alone it is not refreshed
	if who := d.who(t, b); !slices.Contains(who.Groups, "authors") {
		t.Errorf("after a refresh: %+v", who)
	}
}

// email counts where scopes names it; people of Dex itself have no groups.
func (d *dexed) email(t *testing.T) {
	b := d.login(t, person{"local", "ann@example.com", "of ann"})
	if who := d.who(t, b); who.Username != "ann@example.com" || !slices.Equal(who.Groups, []string{"ann@example.com"}) {
		t.Errorf("logged in as %+v", who)
	}
	if answer := d.browse(t, b, "/api/v1/projects"); !strings.Contains(answer, `"name":"default"`) {
		t.Errorf("projects: %s", answer)
	}
}

// secret of a connector reaches Dex as it is.
func (d *dexed) secret(t *testing.T) {
	b := d.login(t, person{"desk", "kilgore", deskPassword})
	if who := d.who(t, b); who.Username != "kilgore@kilgore.trout" || slices.Contains(who.Groups, "authors") {
		t.Errorf("logged in as %+v", who)
	}
	if answer := d.browse(t, b, "/api/v1/projects"); strings.Contains(answer, `"name":"default"`) {
		t.Errorf("somebody without a right sees %s", answer)
	}
}

// wrong passwords do not log in.
func (d *dexed) wrong(t *testing.T) {
	for _, p := range []person{{"local", "ann@example.com", "guess"}, {"desk", "kilgore", "tr"}} {
		b := browser(t)
		if _, err := p.walk(b, d.base+"/auth/login", func(u *url.URL) bool { return u.String() == d.base }); !errors.Is(err, errDex) {
			t.Errorf("%+v: %v", p, err)
		}
		if d.cookie(b) != "" {
			t.Errorf("%+v has a cookie", p)
		}
	}
}

// commandLine logs in with --sso, and goes on when the token ends.
func (d *dexed) commandLine(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	at := strings.TrimPrefix(d.base, "http://")
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(binaries(t), "sluice"), append(args, "--config", config)...)
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
		return cmd
	}
	cmd := run("login", at, "--plaintext", "--sso", "--sso-launch-browser=false")
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = cmd.Stdout
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	lines, text := bufio.NewScanner(out), ""
	for lines.Scan() {
		text += lines.Text() + "\n"
		if _, address, ok := strings.Cut(lines.Text(), "flow login: "); ok {
			b := browser(t)
			back, err := person{connector: "mock"}.walk(b, address, func(u *url.URL) bool { return u.Host == "localhost:8085" })
			must(t, err)
			res, err := b.Get(back.String())
			must(t, err)
			must(t, res.Body.Close())
			if res.StatusCode != http.StatusOK {
				t.Errorf("the command line answers the browser with %s", res.Status)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(text, "kilgore@kilgore.trout") {
		t.Fatalf("login --sso: %v: %s", err, text)
	}
	token := func() string {
		raw, err := os.ReadFile(config)
		must(t, err)
		var kept struct {
			Users []struct {
				Token string `json:"auth-token"`
			} `json:"users"`
		}
		must(t, yaml.Unmarshal(raw, &kept))
		if len(kept.Users) != 1 {
			t.Fatalf("the command line knows %d users", len(kept.Users))
		}
		return kept.Users[0].Token
	}
	first := token()
	info := func() string {
		raw, err := run("account", "get-user-info").CombinedOutput()
		if err != nil {
			t.Fatalf("get-user-info: %v: %s", err, raw)
		}
		return string(raw)
	}
	if got := info(); !strings.Contains(got, "authors") {
		t.Errorf("get-user-info: %s", got)
	}
	must(t, rig.Until(t.Context(), 30*time.Second, "the command line has another token", func(context.Context) (bool, error) {
		got := info()
		if !strings.Contains(got, "authors") {
			return false, errors.New(got)
		}
		return token() != first, nil
	}))
}
