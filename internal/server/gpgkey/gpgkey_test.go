package gpgkey

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// ring is an armored text with keys of these people; with secret their private
// parts too.
func ring(t *testing.T, secret bool, people ...string) string {
	t.Helper()
	var out bytes.Buffer
	kind := openpgp.PublicKeyType
	if secret {
		kind = openpgp.PrivateKeyType
	}
	w, err := armor.Encode(&out, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range people {
		e, err := openpgp.NewEntity(p, "", p+"@example.com", nil)
		if err != nil {
			t.Fatal(err)
		}
		if secret {
			err = e.SerializePrivate(w, nil)
		} else {
			err = e.Serialize(w)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

type anyone struct{}

func (anyone) Allowed(access.Principal, access.Request) bool { return true }

func TestKeys(t *testing.T) {
	t.Parallel()
	found, err := split(ring(t, false, "ann", "bob"))
	if err != nil || len(found) != 2 {
		t.Fatalf("%d keys, %v", len(found), err)
	}
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &corev1.ConfigMap{Data: found}
	m.Name, m.Namespace = settings.GPGKeysName, "argocd"
	hub.ConfigMaps.Put(m)
	s := New(hub)
	list := s.Routes()[0]
	answer, err := s.List(t.Context(), route.NewCall(&list, access.Principal{}, anyone{}), &Query{})
	if err != nil || len(answer.Items) != 2 {
		t.Fatalf("%+v, %v", answer, err)
	}
	for _, k := range answer.Items {
		if k.KeyData != "" || len(k.KeyID) != 16 || !strings.HasSuffix(k.Fingerprint, k.KeyID) || !strings.Contains(k.Owner, "@example.com") {
			t.Errorf("listed is %+v", k)
		}
	}
	get := s.Routes()[1]
	one, err := s.Get(t.Context(), route.NewCall(&get, access.Principal{}, anyone{}), &Query{KeyID: "0x" + strings.ToLower(answer.Items[0].Fingerprint)})
	if err != nil || one.KeyID != answer.Items[0].KeyID || !strings.Contains(one.KeyData, "PUBLIC KEY") {
		t.Errorf("%+v, %v", one, err)
	}
	_, err = s.Get(t.Context(), route.NewCall(&get, access.Principal{}, anyone{}), &Query{KeyID: "0123"})
	if code, _ := fault.Of(err); code != fault.NotFound {
		t.Errorf("no such key: %v", err)
	}
}

func TestOnlyPublicPartsAreKept(t *testing.T) {
	t.Parallel()
	found, err := split(ring(t, true, "ann"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d keys, %v", len(found), err)
	}
	for _, armored := range found {
		kept, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
		if err != nil || kept[0].PrivateKey != nil {
			t.Errorf("%v, a private key is kept", err)
		}
	}
	for _, bad := range []string{"", "x", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----"} {
		if _, err := split(bad); err == nil || strings.Contains(fmt.Sprint(err), "AAAA") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
