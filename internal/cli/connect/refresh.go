package connect

import (
	"context"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/config"
)

// fresh gives a token that is good, from the issuer when the stored one has
// expired and a refresh token is there (spec/cli.md §1.4.5). Tokens that come
// from a flag or the environment are taken as they are.
func (d *Dialer) fresh(ctx context.Context, o client.Options) (string, error) {
	current, err := d.Current()
	if err != nil || current == nil || current.User.RefreshToken == "" || o.Token != current.User.AuthToken {
		return o.Token, nil
	}
	claims := Read(o.Token)
	if claims == nil || claims.Local() || !claims.Expired(d.Console.Clock.Now()) || d.Redeem == nil {
		return o.Token, nil
	}
	path, err := d.Path(d.Console)
	if err != nil {
		return "", err
	}
	// Issuers take a refresh token once, and some end the whole session when it
	// comes again, as it does when commands run side by side.
	release, err := config.Lock(ctx, path)
	if err != nil {
		d.Log("warn", "the token has expired and is not renewed: "+err.Error())
		return o.Token, nil
	}
	defer release()
	return d.renew(ctx, o)
}

// renew redeems the refresh token under the lock, unless another command has
// done so meanwhile, and remembers what the issuer gives.
func (d *Dialer) renew(ctx context.Context, o client.Options) (string, error) {
	current, err := d.Current()
	if err != nil || current == nil {
		return o.Token, err
	}
	user := current.User
	if user.AuthToken != o.Token || user.RefreshToken == "" {
		return user.AuthToken, nil
	}
	token, refresh, err := d.Redeem(ctx, o, user.RefreshToken)
	if err != nil {
		d.Log("warn", "the token has expired and the issuer gives no fresh one: "+err.Error())
		return o.Token, nil
	}
	f, err := d.Local()
	if err != nil || f == nil {
		return token, err
	}
	user.AuthToken = token
	if refresh != "" {
		user.RefreshToken = refresh
	}
	f.PutUser(user)
	return token, d.Save(f)
}
