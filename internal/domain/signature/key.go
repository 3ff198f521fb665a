package signature

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Key is one public key of argocd-gpg-keys-cm.
type Key struct {
	ID     string // 16 hex digits, upper case
	Owner  string
	entity *openpgp.Entity
	digest string
}

// Digest changes with everything that a key says, a revocation too.
func (k Key) Digest() string { return k.digest }

// maxKey bounds an armored key in bytes.
const maxKey = 1 << 20

// ParseKey reads an armored public key; it must be exactly one and have the id
// under which it is stored (spec/config.md §6.4).
func ParseKey(id, armored string) (key Key, err error) {
	defer func() {
		if broken := recover(); broken != nil { // a parser of hostile input
			err = errors.New("the key cannot be read")
		}
	}()
	if len(armored) > maxKey {
		return Key{}, fmt.Errorf("the key is larger than %d bytes", maxKey)
	}
	entities, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
	switch {
	case err != nil:
		return Key{}, errors.New("is not an armored public key: export it with gpg --armor --export")
	case len(entities) != 1:
		return Key{}, fmt.Errorf("holds %d keys: store each under its own id", len(entities))
	case entities[0].PrivateKey != nil:
		return Key{}, errors.New("holds a private key: export the public one, and replace the private one, it is known now")
	}
	own := fmt.Sprintf("%016X", entities[0].PrimaryKey.KeyId)
	if ShortID(id) != own {
		return Key{}, fmt.Errorf("has the key %s: store it under its own id", own)
	}
	owner := ""
	if identity := entities[0].PrimaryIdentity(); identity != nil {
		owner = identity.Name
	}
	sum := sha256.Sum256([]byte(armored))
	return Key{own, owner, entities[0], hex.EncodeToString(sum[:])}, nil
}

// ShortID is the form in which ids are compared: the last 16 digits of an id
// or fingerprint, upper case, without blanks and 0x.
func ShortID(id string) string {
	id = strings.TrimPrefix(strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(id), " ", "")), "0X")
	return id[max(0, len(id)-16):]
}

// Result says what a signature is worth.
type Result string

// The results of a check.
const (
	Good       Result = "Good"
	Unsigned   Result = "Unsigned"
	UnknownKey Result = "UnknownKey" // of nobody in argocd-gpg-keys-cm
	NotAllowed Result = "NotAllowed" // of a key that the project does not list
	Expired    Result = "Expired"
	Revoked    Result = "Revoked"
	Bad        Result = "Bad"
)

// Verdict is the result for one object.
type Verdict struct {
	Result Result
	KeyID  string // of the signature, when it has one
	Signer string // owner of the key, when it is known
}

// String is the verdict in words.
func (v Verdict) String() string {
	by := v.KeyID
	if v.Signer != "" {
		by = fmt.Sprintf("%s (%s)", v.KeyID, v.Signer)
	}
	switch v.Result {
	case Good:
		return "is signed by " + by
	case Unsigned:
		return "is not signed"
	case UnknownKey:
		return fmt.Sprintf("is signed by key %s, which argocd-gpg-keys-cm does not have", by)
	case NotAllowed:
		return fmt.Sprintf("is signed by key %s, which the project does not list", by)
	case Expired:
		return fmt.Sprintf("is signed by key %s, which or whose signature has expired", by)
	case Revoked:
		return fmt.Sprintf("is signed by key %s, which is revoked", by)
	}
	return "has a signature that is not valid"
}

// Check verifies a signature at a time. allowed lists the key ids that count,
// empty for all known keys; a key counts also by the id of the signing subkey.
func Check(s Signed, known []Key, allowed []string, now time.Time) (v Verdict) {
	defer func() {
		if broken := recover(); broken != nil {
			v = Verdict{Result: Bad}
		}
	}()
	if s.Signature == "" {
		return Verdict{Result: Unsigned}
	}
	issuer, ok := issuerOf(s.Signature)
	if !ok {
		return Verdict{Result: Bad}
	}
	v = Verdict{Result: UnknownKey, KeyID: fmt.Sprintf("%016X", issuer)}
	var ring openpgp.EntityList
	for _, k := range known {
		if len(openpgp.EntityList{k.entity}.KeysById(issuer)) == 0 {
			continue
		}
		v.Signer = k.Owner
		if len(allowed) > 0 && !lists(allowed, k.ID) && !lists(allowed, v.KeyID) {
			v.Result = NotAllowed
			continue
		}
		ring = append(ring, k.entity)
		v.Signer = k.Owner
		break
	}
	if len(ring) == 0 {
		return v
	}
	err := verify(ring, s, now)
	if errors.Is(err, pgperrors.ErrSignatureExpired) { // or not yet valid: the clock of the signer may be ahead
		err = verify(ring, s, now.Add(clockSkew))
	}
	switch {
	case err == nil:
		v.Result = Good
	case errors.Is(err, pgperrors.ErrKeyExpired) || errors.Is(err, pgperrors.ErrSignatureExpired):
		v.Result = Expired
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		v.Result = Revoked
	default:
		v.Result = Bad
	}
	return v
}

// clockSkew is how far the clock of a signer may be ahead.
const clockSkew = 10 * time.Minute

func verify(ring openpgp.EntityList, s Signed, now time.Time) error {
	_, err := openpgp.CheckArmoredDetachedSignature(ring, bytes.NewReader(s.Payload), strings.NewReader(s.Signature), &packet.Config{Time: func() time.Time { return now }})
	return err
}

func lists(allowed []string, id string) bool {
	for _, a := range allowed {
		if ShortID(a) == id {
			return true
		}
	}
	return false
}

// issuerOf is the id of the key that a signature says it is of.
func issuerOf(armored string) (uint64, bool) {
	block, err := decode(armored)
	if err != nil {
		return 0, false
	}
	for {
		p, err := block.Next()
		if err != nil {
			return 0, false
		}
		if sig, ok := p.(*packet.Signature); ok && sig.IssuerKeyId != nil {
			return *sig.IssuerKeyId, true
		}
	}
}
