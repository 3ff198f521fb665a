package admin

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

const initialSecret = "argocd-initial-admin-secret"

func (v *verbs) initialPassword() *cobra.Command {
	return &cobra.Command{
		Use: "initial-password", Short: "Print the first password of the account admin", Args: command.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := v.connect()
			if err != nil {
				return err
			}
			var s corev1.Secret
			err = h.client.Get(cmd.Context(), client.ObjectKey{Namespace: h.namespace, Name: initialSecret}, &s)
			if apierrors.IsNotFound(err) {
				return fail.New("when it was deleted after a password was set, that is as it should be; else name the namespace with -n",
					"there is no Secret %s in namespace %s", initialSecret, h.namespace)
			}
			if err != nil {
				return fmt.Errorf("Secret %s: %w", initialSecret, err)
			}
			password := s.Data["password"]
			if len(password) == 0 {
				return fail.New("", "Secret %s/%s has no key password", h.namespace, initialSecret)
			}
			v.Dialer.Console.Printf("%s\n\n This password must be only used for first time login. We strongly recommend you update the password using `%s account update-password`.\n",
				password, v.Dialer.Console.Name)
			return nil
		},
	}
}

// The password of Redis, for those who run one beside Sluice (spec/config.md §1).
const (
	redisSecret = "argocd-redis"
	redisKey    = "auth"
	redisLength = 16
)

func (v *verbs) redisPassword() *cobra.Command {
	return &cobra.Command{
		Use: "redis-initial-password", Short: "Make sure that there is a password for Redis, in Secret " + redisSecret, Args: command.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := v.connect()
			if err != nil {
				return err
			}
			say := func(text string) {
				v.Dialer.Console.Printf("Secret %s/%s, key %s: %s\n", h.namespace, redisSecret, redisKey, text)
			}
			s := &corev1.Secret{Type: corev1.SecretTypeOpaque}
			s.Namespace, s.Name = h.namespace, redisSecret
			for {
				err := h.client.Get(cmd.Context(), client.ObjectKeyFromObject(s), s)
				absent := apierrors.IsNotFound(err)
				if err != nil && !absent {
					return fmt.Errorf("Secret %s: %w", redisSecret, err)
				}
				if len(s.Data[redisKey]) > 0 {
					say("there already")
					return nil
				}
				if s.Data == nil {
					s.Data = map[string][]byte{}
				}
				s.Data[redisKey] = []byte(rand.Text()[:redisLength])
				if absent {
					err = h.client.Create(cmd.Context(), s)
				} else {
					err = h.client.Update(cmd.Context(), s)
				}
				if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
					s.Data = nil // somebody else was faster: look again
					continue
				}
				if err != nil {
					return errors.Join(fmt.Errorf("Secret %s was not written", redisSecret), err)
				}
				say("made")
				return nil
			}
		},
	}
}
