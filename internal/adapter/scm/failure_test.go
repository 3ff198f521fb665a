package scm_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/scm"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// questions are one for each host and kind; every list is asked for first.
var questions = map[string]string{
	"github":                   `scmProvider: {github: {organization: acme, api: "{{server}}", tokenRef: {secretName: tokens, key: token}}}`,
	"gitlab":                   `scmProvider: {gitlab: {group: acme, api: "{{server}}", tokenRef: {secretName: tokens, key: token}}}`,
	"gitea":                    `scmProvider: {gitea: {owner: acme, api: "{{server}}", tokenRef: {secretName: tokens, key: token}}}`,
	"bitbucketServer":          `scmProvider: {bitbucketServer: {project: acme, api: "{{server}}", bearerToken: {tokenRef: {secretName: tokens, key: token}}}}`,
	"bitbucket":                `scmProvider: {bitbucket: {owner: acme, user: ann, appPasswordRef: {secretName: tokens, key: token}}}`,
	"azureDevOps":              `scmProvider: {azureDevOps: {organization: acme, teamProject: one, api: "{{server}}", accessTokenRef: {secretName: tokens, key: token}}}`,
	"awsCodeCommit":            `scmProvider: {awsCodeCommit: {region: eu-west-1}}`,
	"github requests":          `pullRequest: {github: {owner: acme, repo: api, api: "{{server}}", tokenRef: {secretName: tokens, key: token}}}`,
	"gitlab requests":          `pullRequest: {gitlab: {project: acme/api, api: "{{server}}", tokenRef: {secretName: tokens, key: token}}}`,
	"gitea requests":           `pullRequest: {gitea: {owner: acme, repo: api, api: "{{server}}", tokenRef: {secretName: tokens, key: token}}}`,
	"bitbucketServer requests": `pullRequest: {bitbucketServer: {project: acme, repo: api, api: "{{server}}", bearerToken: {tokenRef: {secretName: tokens, key: token}}}}`,
	"bitbucket requests":       `pullRequest: {bitbucket: {owner: acme, repo: api, api: "{{server}}/2.0", bearerToken: {tokenRef: {secretName: tokens, key: token}}}}`,
	"azuredevops requests":     `pullRequest: {azuredevops: {organization: acme, project: one, repo: api, api: "{{server}}", tokenRef: {secretName: tokens, key: token}}}`,
}

func put(ctx context.Context, c *scm.Client, a scm.Access, ask, server string) (int, error) {
	var q question
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(ask, "{{server}}", server)), &q); err != nil {
		return 0, err
	}
	if q.SCMProvider != nil {
		listing, err := c.Repositories(ctx, a, q.SCMProvider)
		return len(listing.Repositories), err
	}
	requests, err := c.PullRequests(ctx, a, q.PullRequest)
	return len(requests), err
}

// TestFailuresAreErrors: whatever is wrong with an answer, there is no answer;
// and no word of it holds the token or what the host said.
func TestFailuresAreErrors(t *testing.T) {
	const said = "the host repeats: " + token
	for failure, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		want   string
	}{
		"a web page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html>"+said)
		}, "web page"},
		"half a page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `[{"id": 1, "name": "a", `)
		}, ""},
		"a page cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `[{"id": 1}`)
		}, ""},
		"another shape": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `"`+strings.Repeat("x", 10)+`"`)
		}, ""},
		"500": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, said, http.StatusInternalServerError) }, "answers 500: the host is in trouble"},
		"401": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, said, http.StatusUnauthorized) }, "answers 401: check the token"},
		"403": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, said, http.StatusForbidden) }, "answers 403: check the token"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example/"+token[:4], http.StatusFound)
		}, "redirects to login.example, which is not followed"},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for range 40 {
				if _, err := w.Write([]byte(strings.Repeat(" ", 1<<20))); err != nil {
					return
				}
			}
		}, "more than 32 MiB"},
		"429": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(429)
		}, "asks for fewer requests until 2026-09-21T14:15:20Z"},
		"spent": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", fmt.Sprint(now+600))
			w.WriteHeader(403)
		}, "asks for fewer requests until 2026-09-21T14:23:20Z"},
	} {
		server := httptest.NewServer(http.HandlerFunc(c.answer))
		for host, ask := range questions {
			if failure == "too large" && host != "gitea" && host != "bitbucket" && host != "awsCodeCommit" {
				continue // one transport for all: a library, our own client, and AWS will do
			}
			t.Run(failure+"/"+host, func(t *testing.T) {
				n, err := put(t.Context(), client(server, "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY="+token), access(), ask, server.URL)
				if err == nil {
					t.Fatalf("%d come out of it", n)
				}
				if words := err.Error(); strings.Contains(words, token) || strings.Contains(words, "repeats") || !strings.Contains(words, c.want) {
					t.Errorf("%s, want %q", words, c.want)
				}
				var later interface{ RetryAt() time.Time }
				if throttled := strings.Contains(c.want, "fewer"); errors.As(err, &later) != throttled {
					t.Errorf("%v says when to ask again: %v", err, !throttled)
				}
			})
		}
		server.Close()
	}
}

// TestLaterPages: a failure on the second page is no shorter list.
func TestLaterPages(t *testing.T) {
	for host, ask := range map[string]string{"github": questions["github requests"], "gitlab": questions["gitlab requests"], "gitea": questions["gitea requests"]} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			if r.URL.Query().Get("page") == "2" {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			w.Header().Set("Link", `<http://`+r.Host+`/x?page=2>; rel="next"`)
			w.Header().Set("X-Next-Page", "2")
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `[{"number": 1, "iid": 1, "title": "x"}]`)
		}))
		n, err := put(t.Context(), client(server), access(), ask, server.URL)
		if err == nil || n != 0 || asked != 2 {
			t.Errorf("%s: %d requests, error %v, asked %d times", host, n, err, asked)
		}
		server.Close()
	}
}

// TestNobodyThere: a host that is down, and one that does not answer in time.
func TestNobodyThere(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(release)
	environment := []string{"AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=" + token}
	for host, ask := range questions {
		if n, err := put(t.Context(), client(gone, environment...), access(), ask, gone.URL); err == nil {
			t.Errorf("%s, down: %d come out of it", host, n)
		}
		c := client(silent, environment...)
		c.Timeout = 50 * time.Millisecond
		if _, err := put(t.Context(), c, access(), ask, silent.URL); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s, silent: %v", host, err)
		}
	}
}

// TestMissingRepository is told from other failures.
func TestMissingRepository(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for host, ask := range questions {
		_, err := put(t.Context(), client(server), access(), ask, server.URL)
		if requests := strings.Contains(host, "requests"); err == nil || errors.Is(err, appset.ErrNoRepository) != requests {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// TestCertificates: a host with a certificate of its own is reached with its
// authority, without a look, or not at all.
func TestCertificates(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[]")
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	ask := `pullRequest: {gitlab: {project: x, api: "{{server}}"%s}}`
	for name, c := range map[string]struct {
		field, roots, bundle, want string
	}{
		"unknown":   {"", "", "", "certificate"},
		"insecure":  {", insecure: true", "", "", ""},
		"caRef":     {", caRef: {configMapName: ca, key: pem}", "", authority, ""},
		"bad caRef": {", caRef: {configMapName: ca, key: pem}", "", "nonsense", "key pem of ConfigMap ca holds no PEM certificate"},
		"roots":     {"", authority, "", ""},
	} {
		a := access()
		a.CA = func(context.Context, v1alpha1.ConfigMapKeyRef) (string, error) { return c.bundle, nil }
		one := client(server)
		one.RootCAs = c.roots
		_, err := put(t.Context(), one, a, fmt.Sprintf(ask, c.field), server.URL)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestProxy: requests of generators go through their own proxy.
func TestProxy(t *testing.T) {
	seen := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.URL.String()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[]")
	}))
	defer proxy.Close()
	c := client(nil, "HTTP_PROXY=http://127.0.0.1:1")
	c.ProxyURL = proxy.URL
	if _, err := put(t.Context(), c, access(), `pullRequest: {gitea: {owner: acme, repo: api, api: "http://gitea.example"}}`, ""); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(seen, "http://gitea.example/api/v1/repos/acme/api/pulls") {
		t.Errorf("the proxy saw %q", seen)
	}
}

// TestTokensOfTheProcess go to hosts that sets of its own namespace name, and
// to no others.
func TestTokensOfTheProcess(t *testing.T) {
	sent := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("Authorization") + r.Header.Get("Private-Token")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[]")
	}))
	defer server.Close()
	environment := []string{"GITHUB_TOKEN=" + token, "GITLAB_TOKEN=" + token, "GITEA_TOKEN=" + token, "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=" + token}
	for host, ask := range questions {
		a := access()
		a.Default = false
		sent = ""
		_, err := put(t.Context(), client(server, environment...), a, strings.ReplaceAll(ask, ", tokenRef: {secretName: tokens, key: token}", ""), server.URL)
		if host == "awsCodeCommit" && err == nil {
			t.Error("awsCodeCommit: the identity of the process is lent")
		}
		if strings.HasPrefix(host, "git") && sent != "" && sent != "Bearer " {
			t.Errorf("%s: %q is sent", host, sent)
		}
	}
}

// TestGitHubApp becomes an installation and asks with its token alone.
func TestGitHubApp(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var log []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := "jwt"
		if r.Header.Get("Authorization") == "Bearer installed" {
			kind = "installed"
		}
		log = append(log, kind+" "+r.Method+" "+r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/v3/orgs/acme/installation":
			w.WriteHeader(http.StatusNotFound)
		case "/api/v3/users/acme/installation":
			_, _ = io.WriteString(w, `{"id": 7}`)
		case "/api/v3/app/installations/7/access_tokens":
			body, _ := io.ReadAll(r.Body)
			if !strings.Contains(string(body), `"contents":"read"`) || strings.Contains(string(body), "write") {
				t.Errorf("asks for %s", body)
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"token": "installed", "expires_at": "2030-01-01T00:00:00Z"}`)
		default:
			_, _ = io.WriteString(w, "[]")
		}
	}))
	defer server.Close()
	a := access()
	app := repo.GitHubApp{ID: 3, BaseURL: server.URL, PrivateKey: repo.Secret(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))}
	a.App = func(context.Context, string) (repo.GitHubApp, error) { return app, nil }
	ask := `pullRequest: {github: {owner: acme, repo: api, api: "{{server}}", appSecretName: app}}`
	if _, err := put(t.Context(), client(server), a, ask, server.URL); err != nil {
		t.Fatal(err)
	}
	want := "jwt GET /api/v3/orgs/acme/installation,jwt GET /api/v3/users/acme/installation,jwt POST /api/v3/app/installations/7/access_tokens,installed GET /api/v3/repos/acme/api/pulls"
	if got := strings.Join(log, ","); got != want {
		t.Errorf("requests %s, want %s", got, want)
	}
	app.BaseURL = ""
	log = nil
	if _, err := put(t.Context(), client(server), a, ask, server.URL); err == nil || len(log) > 0 {
		t.Errorf("an App of github.com asks another host: %v, %v", err, log)
	}
}

// TestRolesOfAWS: a token of the service account becomes keys, and these those
// of a role; no request carries more than its own.
func TestRolesOfAWS(t *testing.T) {
	var log []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		who, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="), "/")
		switch {
		case strings.Contains(string(body), "Action=AssumeRoleWithWebIdentity"):
			log = append(log, "web:"+who)
			_, _ = io.WriteString(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>WEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`)
		case strings.Contains(string(body), "Action=AssumeRole&"):
			log = append(log, "role:"+who)
			_, _ = io.WriteString(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t2</SessionToken></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
		default:
			log = append(log, "list:"+who+":"+r.Header.Get("X-Amz-Security-Token"))
			_, _ = io.WriteString(w, `{"repositories": []}`)
		}
	}))
	defer server.Close()
	c := client(server, "AWS_WEB_IDENTITY_TOKEN_FILE=/token", "AWS_ROLE_ARN=arn:aws:iam::1:role/me", "AWS_DEFAULT_REGION=eu-west-1")
	c.ReadFile = func(string) ([]byte, error) { return []byte("web-token\n"), nil }
	if _, err := put(t.Context(), c, access(), `scmProvider: {awsCodeCommit: {role: "arn:aws:iam::2:role/other"}}`, ""); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(log, " "); got != "web: role:WEB list:ROLE:t2" {
		t.Errorf("requests %s", got)
	}
	log = nil
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "agent-token" {
			_, _ = io.WriteString(w, `{"AccessKeyId": "POD", "SecretAccessKey": "s", "Token": "t"}`)
		}
	}))
	defer agent.Close()
	c = client(server, "AWS_CONTAINER_CREDENTIALS_FULL_URI="+agent.URL, "AWS_CONTAINER_AUTHORIZATION_TOKEN=agent-token", "AWS_REGION=eu-west-1")
	if _, err := put(t.Context(), c, access(), `scmProvider: {awsCodeCommit: {}}`, ""); err != nil || strings.Join(log, " ") != "list:POD:t" {
		t.Errorf("requests %v, %v", log, err)
	}
}
