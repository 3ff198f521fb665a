package identity

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/sluice-cd/sluice/internal/domain/account"
)

// Bootstrap makes what a first start needs: the key that signs tokens, and a
// password of the administrator, in clear in argocd-initial-admin-secret and
// hashed in argocd-secret. What exists is left alone. Replicas that start
// together end up with the same.
func (k *Keeper) Bootstrap(ctx context.Context) error {
	var key [32]byte
	if _, err := io.ReadFull(k.Random, key[:]); err != nil {
		return fmt.Errorf("read random bytes: %w", err)
	}
	lacks := false
	err := k.change(ctx, func(data map[string][]byte) error {
		if len(data["server.secretkey"]) == 0 {
			data["server.secretkey"] = []byte(base64.StdEncoding.EncodeToString(key[:]))
		}
		lacks = len(data["admin.password"]) == 0
		return nil
	})
	if err != nil || !lacks || !k.Book().Accounts[account.Admin].Enabled {
		return err
	}
	password, err := k.initialPassword(ctx)
	if err != nil {
		return err
	}
	hashed, err := k.hash(password)
	if err != nil {
		return err
	}
	k.Log.Info("a password for admin was made", "object", "Secret/"+InitialAdminName, "remedy", "change it and delete the Secret")
	return k.change(ctx, func(data map[string][]byte) error {
		if len(data["admin.password"]) == 0 {
			account.SetPassword(data, account.Admin, hashed, k.Clock.Now())
		}
		return nil
	})
}

// alphabet of generated passwords (spec/config.md §3).
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-"

// initialPassword is the one of the Secret, which is made when it is not there.
func (k *Keeper) initialPassword(ctx context.Context) (string, error) {
	fresh, err := k.generate(16)
	if err != nil {
		return "", err
	}
	secret, err := k.Secrets.Mutate(ctx, InitialAdminName, func(data map[string][]byte) error {
		if len(data["password"]) == 0 {
			data["password"] = []byte(fresh)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return string(secret.Data["password"]), nil
}

func (k *Keeper) generate(n int) (string, error) {
	out := make([]byte, 0, n)
	var raw [1]byte
	for len(out) < n {
		if _, err := io.ReadFull(k.Random, raw[:]); err != nil {
			return "", fmt.Errorf("read random bytes: %w", err)
		}
		if i := int(raw[0] & 63); i < len(alphabet) { // 64 values for 63 letters: one is drawn again
			out = append(out, alphabet[i])
		}
	}
	return string(out), nil
}
