// Package gpgkey holds the operations on the public keys that signatures of
// commits are checked with (spec/api.md §3).
package gpgkey

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Service answers for keys.
type Service struct{ Hub *store.Hub }

// New makes a Service.
func New(hub *store.Hub) *Service { return &Service{Hub: hub} }

const (
	rpc  = "gpgkey.GPGKeyService/"
	base = "/api/v1/gpgkeys"
)

// Routes are all operations on keys.
func (s *Service) Routes() route.Table {
	return route.Table{
		route.Unary(route.Spec{Method: "GET", Path: base, RPC: rpc + "List", Rule: route.Lists("gpgkeys/get"), Summary: "List keys."}, s.List),
		route.Unary(route.Spec{Method: "GET", Path: base + "/{keyID}", RPC: rpc + "Get", Rule: route.Needs("gpgkeys/get"), Summary: "Get a key."}, s.Get),
		route.Unary(route.Spec{Method: "POST", Path: base, RPC: rpc + "Create", Rule: route.Needs("gpgkeys/create"), Summary: "Add keys."}, s.Create),
		route.Unary(route.Spec{Method: "DELETE", Path: base, RPC: rpc + "Delete", Rule: route.Needs("gpgkeys/delete"), Summary: "Remove a key."}, s.Delete),
	}
}

// Key is a public key.
type Key struct {
	KeyID       string `json:"keyID"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Owner       string `json:"owner,omitempty"`
	Trust       string `json:"trust,omitempty"`
	SubType     string `json:"subType,omitempty"`
	KeyData     string `json:"keyData,omitempty"`
}

// List is an answer with many keys.
type List struct {
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []Key           `json:"items"`
}

// Query names a key.
type Query struct {
	KeyID string `json:"-" path:"keyID" query:"keyID"`
}

// read describes an armored key.
func read(id, armored string) (Key, error) {
	k, err := signature.ParseKey(id, armored)
	if err != nil {
		return Key{}, err
	}
	out := Key{KeyID: k.ID, Owner: k.Owner, Trust: "unknown", KeyData: armored}
	if ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored)); err == nil && len(ring) == 1 {
		out.Fingerprint = strings.ToUpper(hex.EncodeToString(ring[0].PrimaryKey.Fingerprint))
		if bits, err := ring[0].PrimaryKey.BitLength(); err == nil && ring[0].PrimaryKey.PubKeyAlgo < 4 {
			out.SubType = "rsa" + strconv.Itoa(int(bits))
		}
	}
	return out, nil
}

func (s *Service) keys() []Key {
	var out []Key
	for id, armored := range s.Hub.Config(settings.GPGKeysName) {
		if k, err := read(id, armored); err == nil {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b Key) int { return cmp.Compare(a.KeyID, b.KeyID) })
	return out
}

// List lists the keys, without their data.
func (s *Service) List(_ context.Context, c *route.Call, q *Query) (*List, error) {
	out := &List{Items: []Key{}}
	if !c.Can(access.Request{Resource: "gpgkeys", Action: "get"}) {
		return out, nil
	}
	for _, k := range s.keys() {
		if q.KeyID == "" || signature.ShortID(q.KeyID) == k.KeyID {
			k.KeyData = ""
			out.Items = append(out.Items, k)
		}
	}
	return out, nil
}

// Get gives a key.
func (s *Service) Get(_ context.Context, c *route.Call, q *Query) (*Key, error) {
	if err := c.Must(access.Request{Resource: "gpgkeys", Action: "get"}); err != nil {
		return nil, err
	}
	for _, k := range s.keys() {
		if k.KeyID == signature.ShortID(q.KeyID) {
			return &k, nil
		}
	}
	return nil, fault.New(fault.NotFound, "no such key: %s", q.KeyID)
}

// CreateRequest adds keys.
type CreateRequest struct {
	Key    Key  `json:"publickey" body:"*"`
	Upsert bool `json:"upsert,omitempty" query:"upsert"`
}

// Created says what was added, and what was there.
type Created struct {
	Created List     `json:"created"`
	Skipped []string `json:"skipped"`
}

// maxKeys bounds the keys of one request.
const maxKeys = 100

// split takes an armored text apart into one armored text per key.
func split(text string) (map[string]string, error) {
	bad := fault.New(fault.InvalidArgument, "keyData holds no armored public key")
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(text))
	if err != nil || len(ring) == 0 || len(ring) > maxKeys {
		return nil, bad
	}
	out := map[string]string{}
	for _, e := range ring {
		var armored bytes.Buffer
		w, err := armor.Encode(&armored, openpgp.PublicKeyType, nil)
		if err != nil {
			return nil, bad
		}
		if err := e.Serialize(w); err != nil { // the public part only
			return nil, bad
		}
		if err := w.Close(); err != nil {
			return nil, bad
		}
		out[signature.ShortID(hex.EncodeToString(e.PrimaryKey.Fingerprint))] = armored.String()
	}
	return out, nil
}

// Create adds keys; those that are there are skipped unless upsert is set.
func (s *Service) Create(ctx context.Context, c *route.Call, q *CreateRequest) (*Created, error) {
	if err := c.Must(access.Request{Resource: "gpgkeys", Action: "create"}); err != nil {
		return nil, err
	}
	found, err := split(q.Key.KeyData)
	if err != nil {
		return nil, err
	}
	data := maps.Clone(s.Hub.Config(settings.GPGKeysName))
	if data == nil {
		data = map[string]string{}
	}
	out := &Created{Created: List{Items: []Key{}}, Skipped: []string{}}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if _, there := data[id]; there && !q.Upsert {
			out.Skipped = append(out.Skipped, id)
			continue
		}
		k, err := read(id, found[id])
		if err != nil {
			return nil, fault.New(fault.InvalidArgument, "key %s: %w", id, err)
		}
		data[id] = found[id]
		out.Created.Items = append(out.Created.Items, k)
	}
	if len(out.Created.Items) == 0 {
		return out, nil
	}
	if err := s.Hub.Configure(ctx, settings.GPGKeysName, data); err != nil {
		return nil, err
	}
	c.Did(route.Act{Reason: "ResourceCreated", Message: "created GnuPG public keys"})
	return out, nil
}

// Empty is the answer of what has none.
type Empty struct{}

// Delete removes a key.
func (s *Service) Delete(ctx context.Context, c *route.Call, q *Query) (*Empty, error) {
	if err := c.Must(access.Request{Resource: "gpgkeys", Action: "delete"}); err != nil {
		return nil, err
	}
	data := maps.Clone(s.Hub.Config(settings.GPGKeysName))
	id := signature.ShortID(q.KeyID)
	if _, there := data[id]; !there {
		return nil, fault.New(fault.NotFound, "no such key: %s", q.KeyID)
	}
	delete(data, id)
	if err := s.Hub.Configure(ctx, settings.GPGKeysName, data); err != nil {
		return nil, err
	}
	c.Did(route.Act{Reason: "ResourceDeleted", Message: "deleted GnuPG public key " + id})
	return &Empty{}, nil
}
