package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// Rotator replaces tokens of service accounts.
type Rotator struct{ Hub *rest.Config }

// tokenTimeout bounds the wait for the controller that fills a token in.
const tokenTimeout = 30 * time.Second

// Rotate makes a new long-lived token for the service account whose token is
// given, and proves that the cluster accepts it. done deletes the old one.
func (r Rotator) Rotate(ctx context.Context, c destination.Cluster, token string) (fresh string, done func(context.Context) error, err error) {
	namespace, account, secret, err := accountOf(token)
	if err != nil {
		return "", nil, err
	}
	cfg, err := restConfig(c, r.Hub)
	if err != nil {
		return "", nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return "", nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	secrets := client.CoreV1().Secrets(namespace)
	made, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{GenerateName: account + "-token-", Annotations: map[string]string{corev1.ServiceAccountNameKey: account}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}, metav1.CreateOptions{})
	if err != nil {
		return "", nil, fmt.Errorf("cluster %s: token of %s/%s: %w", c.Name, namespace, account, err)
	}
	discard := func() { _ = secrets.Delete(context.WithoutCancel(ctx), made.Name, metav1.DeleteOptions{}) } // it is worth nothing
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, tokenTimeout, true, func(ctx context.Context) (bool, error) {
		now, err := secrets.Get(ctx, made.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		fresh = string(now.Data[corev1.ServiceAccountTokenKey])
		return fresh != "", nil
	})
	if err != nil {
		discard()
		return "", nil, fmt.Errorf("cluster %s: token of %s/%s was not filled in: %w", c.Name, namespace, account, err)
	}
	trial := rest.CopyConfig(cfg)
	trial.BearerToken, trial.BearerTokenFile, trial.Username, trial.Password = fresh, "", "", ""
	other, err := kubernetes.NewForConfig(trial)
	if err == nil {
		_, err = other.Discovery().ServerVersion()
	}
	if err != nil {
		discard()
		return "", nil, fmt.Errorf("cluster %s does not accept the new token: %w", c.Name, err)
	}
	return fresh, func(ctx context.Context) error {
		if secret == "" {
			return nil
		}
		return other.CoreV1().Secrets(namespace).Delete(ctx, secret, metav1.DeleteOptions{})
	}, nil
}

// accountOf reads whose token it is; the cluster has verified it, we need not.
func accountOf(token string) (namespace, account, secret string, err error) {
	parts := strings.Split(token, ".")
	notOne := errors.New("the token is none of a service account")
	if len(parts) != 3 {
		return "", "", "", notOne
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", "", "", notOne
	}
	var claims struct {
		Namespace string `json:"kubernetes.io/serviceaccount/namespace"`
		Account   string `json:"kubernetes.io/serviceaccount/service-account.name"`
		Secret    string `json:"kubernetes.io/serviceaccount/secret.name"`
		// Bound is where tokens that end have it.
		Bound struct {
			Namespace string `json:"namespace"`
			Account   struct {
				Name string `json:"name"`
			} `json:"serviceaccount"`
		} `json:"kubernetes.io"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return "", "", "", notOne
	}
	if claims.Namespace == "" {
		claims.Namespace, claims.Account, claims.Secret = claims.Bound.Namespace, claims.Bound.Account.Name, ""
	}
	if claims.Namespace == "" || claims.Account == "" {
		return "", "", "", notOne
	}
	return claims.Namespace, claims.Account, claims.Secret, nil
}
