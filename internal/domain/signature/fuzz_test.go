package signature_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/signature"
)

func FuzzSigned(f *testing.F) {
	f.Add([]byte("tree a\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n =x\n -----END PGP SIGNATURE-----\nencoding x\n\nmessage"))
	f.Add([]byte("object a\ntype commit\ntag v1\n\nmessage\n-----BEGIN PGP SIGNATURE-----\n\niHUEABYK\n-----END PGP SIGNATURE-----\n"))
	f.Add([]byte("gpgsig \n\n\nArgocd-gpg-seal:"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, s := range []signature.Signed{signature.Commit(raw), signature.Tag(raw)} {
			if v := signature.Check(s, nil, nil, time.Unix(0, 0)); v.Result == signature.Good {
				t.Errorf("%q is good without any key", raw)
			}
			if len(s.Payload) > len(raw) {
				t.Errorf("the payload of %q grew", raw)
			}
		}
		if s := signature.Tag(raw); !bytes.Equal(append(bytes.Clone(s.Payload), s.Signature...), raw) {
			t.Errorf("payload and signature of %q are not the whole", raw)
		}
		signature.Seals(raw)
		signature.Parents(raw)
		signature.TagTarget(raw)
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ\n-----END PGP PUBLIC KEY BLOCK-----")
	f.Fuzz(func(t *testing.T, armored string) {
		if k, err := signature.ParseKey("0000000000000000", armored); err == nil && k.ID != "0000000000000000" {
			t.Errorf("%q is key %s", armored, k.ID)
		}
	})
}

func TestSeals(t *testing.T) {
	for message, want := range map[string]bool{
		"subject\n\nArgocd-gpg-seal: reviewed":                          true,
		"subject\n\nbody\n\nSigned-off-by: x\nargocd-GPG-seal: yes\n":   true,
		"subject\n\nArgocd-gpg-seal:":                                   false,
		"Argocd-gpg-seal: in the subject":                               false,
		"subject\n\nArgocd-gpg-seal: in the middle\n\nlast paragraph":   false,
		"subject\n\nwe should add Argocd-gpg-seal: sometime, maybe not": false,
	} {
		if got := signature.Seals([]byte("tree a\n\n" + message)); got != want {
			t.Errorf("%q seals: %v", message, got)
		}
	}
}
