package connect

import (
	"context"
	"errors"

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
	// Issuers take a refresh token once, and some end the whole session when it
	// comes again, as it does when commands run side by side.
	token := o.Token
	err = d.Change(ctx, func(f *config.File) error {
		var err error
		token, err = d.renew(ctx, o, f)
		return err
	})
	var locked *config.LockError
	if errors.As(err, &locked) {
		d.Log("warn", "the token has expired and is not renewed: "+err.Error())
		return o.Token, nil
	}
	return token, err
}

// renew redeems the refresh token of the file, unless another command has done
// so meanwhile, and puts into it what the issuer gives.
func (d *Dialer) renew(ctx context.Context, o client.Options, f *config.File) (string, error) {
	current, err := d.in(f)
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
	user.AuthToken = token
	if refresh != "" {
		user.RefreshToken = refresh
	}
	f.PutUser(user)
	return token, nil
}
