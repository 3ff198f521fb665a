package repo_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

const canary = "c4n4ry"

// full has every credential set.
func full() repo.Repository {
	return repo.Repository{
		URL: "https://bot:" + canary + "@host/x", Username: "bot", Password: canary, BearerToken: canary, SSHPrivateKey: canary,
		TLSClientCertKey: canary, GitHubApp: repo.GitHubApp{PrivateKey: canary}, Proxy: "http://u:" + canary + "@proxy",
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	r := full()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "whole", r, "app", r.GitHubApp, "one", r.Password)
	inJSON, err := json.Marshal(map[string]any{"whole": r, "app": r.GitHubApp, "one": r.Password})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		log.String(), string(inJSON), fmt.Sprint(r, r.GitHubApp, r.Password), fmt.Sprintf("%v %+v %#v %s", r, r, r, r),
		fmt.Sprintf("%v %+v %#v", r.GitHubApp, r.GitHubApp, r.GitHubApp), fmt.Sprintf("%v %+v %#v %s %q %x", r.Password, r.Password, r.Password, r.Password, r.Password, r.Password),
		fmt.Sprintf("%+v", struct{ R repo.Repository }{r}), fmt.Sprintf("%+v", &r), fmt.Errorf("x: %w: %v", fmt.Errorf("y"), r).Error(),
	} {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("a secret shows in %q", text)
		}
	}
	if r.Password.Reveal() != canary {
		t.Error("Reveal does not give the text")
	}
}

// TestSecretsHaveTheirType finds fields named like a secret that are strings.
func TestSecretsHaveTheirType(t *testing.T) {
	var look func(reflect.Type, string)
	look = func(typ reflect.Type, at string) {
		for f := range typ.Fields() {
			name := strings.ToLower(f.Name)
			for _, word := range []string{"password", "token", "private", "certkey", "secret", "proxy"} {
				if strings.Contains(name, word) && name != "noproxy" && f.Type == reflect.TypeFor[string]() {
					t.Errorf("%s%s is a plain string: make it a Secret", at, f.Name)
				}
			}
			if f.Type.Kind() == reflect.Struct {
				look(f.Type, at+f.Name+".")
			}
		}
	}
	look(reflect.TypeFor[repo.Repository](), "")
}

func TestHasCredentials(t *testing.T) {
	for want, r := range map[bool]repo.Repository{
		true:  {GitHubApp: repo.GitHubApp{PrivateKey: "k"}},
		false: {URL: "https://x/y", Proxy: "p", Insecure: true, EnableLFS: true},
	} {
		if r.HasCredentials() != want {
			t.Errorf("HasCredentials is %v", !want)
		}
	}
}
