package oidc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// errSeal is a cookie that this server has not written, or not for this.
var errSeal = errors.New("the cookie was not written by this server")

func gcm(key repo.Secret, purpose string) (cipher.AEAD, error) {
	if key == "" {
		return nil, errors.New("server has no key: Secret argocd-secret lacks server.secretkey")
	}
	sum := sha256.Sum256([]byte("sluice " + purpose + "\x00" + key.Reveal()))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// seal encrypts a value for one purpose.
func (c *Client) seal(purpose string, value any) (string, error) {
	box, err := gcm(c.Key(), purpose)
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	nonce := make([]byte, box.NonceSize())
	if _, err := io.ReadFull(c.Random, nonce); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(box.Seal(nonce, nonce, raw, nil)), nil
}

// open reads what seal has written for the purpose.
func (c *Client) open(purpose, text string, into any) error {
	box, err := gcm(c.Key(), purpose)
	if err != nil {
		return err
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) < box.NonceSize() {
		return errSeal
	}
	plain, err := box.Open(nil, raw[:box.NonceSize()], raw[box.NonceSize():], nil)
	if err != nil || json.Unmarshal(plain, into) != nil {
		return errSeal
	}
	return nil
}

// random is a text of 256 random bits.
func (c *Client) random() (string, error) {
	var raw [32]byte
	if _, err := io.ReadFull(c.Random, raw[:]); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}
