package policy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// accountName is what Kubernetes allows as the name of a service account or a
// namespace.
var accountName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// ServiceAccount is the user as whom objects are written to a destination: the
// first entry of spec.destinationServiceAccounts whose server and namespace,
// both globs, match (spec/sync.md §15). found is false when none does. An
// error names an entry that cannot be used.
func ServiceAccount(project *v1alpha1.AppProject, server, namespace, appNamespace string) (user string, found bool, err error) {
	for i, d := range project.Spec.DestinationServiceAccounts {
		if !matchGlob(d.Server, server) || d.Namespace != "" && !matchGlob(d.Namespace, namespace) {
			continue
		}
		home, name, qualified := strings.Cut(d.DefaultServiceAccount, ":")
		if !qualified {
			home, name = namespace, d.DefaultServiceAccount
			if home == "" {
				home = appNamespace
			}
		}
		if !accountName.MatchString(home) || !accountName.MatchString(name) {
			return "", false, fmt.Errorf("AppProject %s, spec.destinationServiceAccounts[%d]: default service account contains invalid chars '%s'",
				project.Name, i, d.DefaultServiceAccount)
		}
		return "system:serviceaccount:" + home + ":" + name, true, nil
	}
	return "", false, nil
}
