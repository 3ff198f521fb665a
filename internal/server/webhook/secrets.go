package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/reference"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Secrets are what events are verified with; an empty one accepts everybody.
type Secrets struct {
	GitHub, GitLab, Gogs, BitbucketServer, BitbucketUUID repo.Secret
	AzureUser, AzurePassword                             repo.Secret
}

// ParseSecrets reads the data of argocd-secret (spec/config.md §3); values may
// refer to other Secrets.
func ParseSecrets(data map[string][]byte, find reference.Lookup) Secrets {
	get := func(key string) repo.Secret {
		value, _ := reference.Resolve(strings.TrimSpace(string(data[key])), find)
		return repo.Secret(value)
	}
	return Secrets{
		GitHub: get("webhook.github.secret"), GitLab: get("webhook.gitlab.secret"), Gogs: get("webhook.gogs.secret"),
		BitbucketServer: get("webhook.bitbucketserver.secret"), BitbucketUUID: get("webhook.bitbucket.uuid"),
		AzureUser: get("webhook.azuredevops.username"), AzurePassword: get("webhook.azuredevops.password"),
	}
}

// errSignature is an event that its sender did not sign with our secret.
var errSignature = errors.New("the event is not signed with the secret in argocd-secret")

// signed checks an HMAC-SHA256 in hex, with an optional prefix in front.
func signed(secret repo.Secret, header string, body []byte) error {
	if secret == "" {
		return nil
	}
	given, err := hex.DecodeString(strings.TrimPrefix(header, "sha256="))
	if err != nil {
		return errSignature
	}
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	if !hmac.Equal(given, mac.Sum(nil)) {
		return errSignature
	}
	return nil
}

// same compares a token in a time that tells nothing.
func same(secret repo.Secret, given string) error {
	want, got := sha256.Sum256([]byte(secret.Reveal())), sha256.Sum256([]byte(given))
	if secret != "" && subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return errSignature
	}
	return nil
}

// basic checks a name and a password; an empty one of both is not checked.
func basic(user, password repo.Secret, r *http.Request) error {
	if user == "" && password == "" {
		return nil
	}
	name, given, ok := r.BasicAuth()
	if !ok {
		return errSignature
	}
	if errors.Join(same(user, name), same(password, given)) != nil {
		return errSignature
	}
	return nil
}
