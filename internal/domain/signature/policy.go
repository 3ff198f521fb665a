package signature

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/gobwas/glob"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

func decode(armored string) (*packet.Reader, error) {
	block, err := armor.Decode(strings.NewReader(armored))
	if err != nil {
		return nil, err
	}
	if block.Type != "PGP SIGNATURE" {
		return nil, errors.New("not a PGP signature")
	}
	return packet.NewReader(block.Body), nil
}

// Mode says how much of a history has to be signed.
type Mode string

// The modes of sourceIntegrity.git.policies[].gpg.mode.
const (
	None   Mode = "none"
	Head   Mode = "head"   // the commit, or the annotated tag that was asked for
	Strict Mode = "strict" // every commit before it too, back to a seal
)

// Policy is what a project demands of one repository.
type Policy struct {
	Mode Mode
	Keys []string // ids that count; never empty unless Mode is None
}

// Demanded says that a project demands signatures: what is deployed in it then
// comes from Git only.
func Demanded(project *v1alpha1.AppProject) bool {
	return len(project.Spec.SignatureKeys) > 0 || project.Spec.SourceIntegrity != nil
}

// PolicyOf finds the policy of a project for a Git repository
// (spec/application.md, AppProject fields): sourceIntegrity when it is there,
// else signatureKeys as Head for all repositories. More than one matching
// policy is an error, as is one that lists no key: nothing would satisfy it.
func PolicyOf(project *v1alpha1.AppProject, url string) (Policy, error) {
	if project.Spec.SourceIntegrity == nil || project.Spec.SourceIntegrity.Git == nil {
		p := Policy{Mode: None}
		for _, k := range project.Spec.SignatureKeys {
			p.Mode, p.Keys = Head, append(p.Keys, k.KeyID)
		}
		return p, nil
	}
	var found []int
	for i, p := range project.Spec.SourceIntegrity.Git.Policies {
		if matches(p.Repos, url) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return Policy{Mode: None}, nil
	case 1:
	default:
		return Policy{}, fmt.Errorf("AppProject/%s: spec.sourceIntegrity.git.policies[%d] and [%d] both match %s: make their repos exclusive", project.Name, found[0], found[1], repo.Redact(url))
	}
	at := fmt.Sprintf("AppProject/%s: spec.sourceIntegrity.git.policies[%d].gpg", project.Name, found[0])
	gpg := project.Spec.SourceIntegrity.Git.Policies[found[0]].GPG
	if gpg == nil {
		return Policy{}, fmt.Errorf("%s is missing: set mode and keys, or remove the policy", at)
	}
	p := Policy{Mode(gpg.Mode), gpg.Keys}
	switch p.Mode {
	case None:
		return Policy{Mode: None}, nil
	case Head, Strict:
		if len(p.Keys) == 0 {
			return Policy{}, fmt.Errorf("%s.keys is empty: list the ids of the keys that may sign", at)
		}
		return p, nil
	}
	return Policy{}, fmt.Errorf("%s.mode %q is not known: write none, head or strict", at, gpg.Mode)
}

// matches says whether the globs permit url: one matches, and none with "!".
func matches(globs []v1alpha1.SourceIntegrityRepo, url string) bool {
	hit, target := false, repo.Normalize(url)
	for _, g := range globs {
		pattern, negated := strings.CutPrefix(g.URL, "!")
		compiled, err := glob.Compile(repo.Normalize(pattern))
		same := err == nil && compiled.Match(target) || pattern == url
		if same && negated {
			return false
		}
		hit = hit || same
	}
	return hit
}
