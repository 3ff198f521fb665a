package cloudauth

import (
	"crypto/rsa"
	"crypto/sha1" // the header of the assertion names certificates so
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/crypto/pkcs12"
	"golang.org/x/oauth2"
)

// maxText bounds what an error quotes of an answer, maxAnswer the answer.
const (
	maxText   = 300
	maxAnswer = 1 << 20
)

// brief words the refusal of a token without the body of the answer, of which
// nobody knows what it quotes.
func brief(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return err
	}
	said := struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{refused.ErrorCode, refused.ErrorDescription}
	if said.Error == "" {
		_ = json.Unmarshal(refused.Body, &said) // what cannot be read is not quoted
	}
	text := ""
	if refused.Response != nil {
		text = refused.Response.Status
	}
	for _, part := range []string{said.Error, said.Description} {
		if part != "" {
			text += ": " + part[:min(len(part), maxText)]
		}
	}
	return fmt.Errorf("no token: %s", text)
}

// ask sends a request to a metadata server, whose answer has numbers in text.
func ask(r *http.Request, now time.Time) (*oauth2.Token, error) {
	client := http.Client{Transport: &http.Transport{Proxy: nil}} // never over a proxy
	defer client.CloseIdleConnections()
	response, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("metadata server: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("metadata server: %w", err)
	}
	var answer struct {
		Token       string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
		Error       string      `json:"error"`
		Description string      `json:"error_description"`
	}
	unreadable := json.Unmarshal(raw, &answer) != nil
	if response.StatusCode != http.StatusOK || unreadable || answer.Token == "" {
		return nil, &oauth2.RetrieveError{Response: response, ErrorCode: answer.Error, ErrorDescription: answer.Description}
	}
	out := &oauth2.Token{AccessToken: answer.Token}
	if seconds, err := strconv.ParseInt(answer.ExpiresIn.String(), 10, 32); err == nil {
		out.Expiry = now.Add(time.Duration(seconds) * time.Second)
	}
	return out, nil
}

// assertionLife is how long an assertion is good.
const assertionLife = 5 * time.Minute

// assertion is a JWT that proves possession of the key of a certificate.
func assertion(file, password, client, audience string, now time.Time) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("certificate: %w", err)
	}
	key, certificate, err := keyPair(raw, password)
	if err != nil {
		return "", fmt.Errorf("certificate %s: %w", file, err)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer: client, Subject: client, Audience: jwt.ClaimStrings{audience}, ID: uuid.NewString(),
		NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(assertionLife)),
	})
	short, long := sha1.Sum(certificate.Raw), sha256.Sum256(certificate.Raw) // a name, no proof
	t.Header["x5t"] = base64.RawURLEncoding.EncodeToString(short[:])
	t.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(long[:])
	return t.SignedString(key)
}

// keyPair reads a key and its certificate, in PEM or PKCS #12.
func keyPair(raw []byte, password string) (*rsa.PrivateKey, *x509.Certificate, error) {
	var key any
	var certificate *x509.Certificate
	if block, _ := pem.Decode(raw); block == nil {
		var err error
		if key, certificate, err = pkcs12.Decode(raw, password); err != nil {
			return nil, nil, fmt.Errorf("neither PEM nor a PKCS #12 file with this password: %w", err)
		}
	}
	for rest := raw; certificate == nil || key == nil; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		var err error
		switch block.Type {
		case "CERTIFICATE":
			certificate, err = x509.ParseCertificate(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, nil, errors.New("a block of it cannot be read")
		}
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok || certificate == nil {
		return nil, nil, errors.New("it needs an RSA key and a certificate")
	}
	return private, certificate, nil
}
