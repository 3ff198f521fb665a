package proj

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// specFlags describe a project.
type specFlags struct {
	fs                                                         *pflag.FlagSet
	description                                                string
	dests, sources, namespaces, keys, accounts                 []string
	allowCluster, denyCluster, allowNamespaced, denyNamespaced []string
	orphaned, orphanedWarn                                     bool
}

func (f *specFlags) register(fs *pflag.FlagSet) {
	f.fs = fs
	fs.StringVar(&f.description, "description", "", "what the project is for")
	fs.StringArrayVarP(&f.dests, "dest", "d", nil, "permitted target SERVER,NAMESPACE; may be repeated")
	fs.StringArrayVarP(&f.sources, "src", "s", nil, "permitted repository; may be repeated")
	fs.StringSliceVar(&f.namespaces, "source-namespaces", nil, "namespaces that may hold Applications; may be repeated")
	fs.StringSliceVar(&f.keys, "signature-keys", nil, "keys that may sign commits; may be repeated")
	fs.StringArrayVar(&f.allowCluster, "allow-cluster-resource", nil, "permitted cluster-scoped GROUP/KIND; may be repeated")
	fs.StringArrayVar(&f.denyCluster, "deny-cluster-resource", nil, "refused cluster-scoped GROUP/KIND; may be repeated")
	fs.StringArrayVar(&f.allowNamespaced, "allow-namespaced-resource", nil, "permitted namespaced GROUP/KIND; may be repeated")
	fs.StringArrayVar(&f.denyNamespaced, "deny-namespaced-resource", nil, "refused namespaced GROUP/KIND; may be repeated")
	fs.StringArrayVar(&f.accounts, "dest-service-accounts", nil, "identity to sync as: SERVER,NAMESPACE,ACCOUNT; may be repeated")
	fs.BoolVar(&f.orphaned, "orphaned-resources", false, "look for objects that nobody manages")
	fs.BoolVar(&f.orphanedWarn, "orphaned-resources-warn", false, "warn of objects that nobody manages")
}

// any says that some flag was given.
func (f *specFlags) any() bool {
	some := false
	f.fs.Visit(func(*pflag.Flag) { some = true })
	return some
}

// groupKind reads GROUP/KIND; the core group is empty.
func groupKind(word, flag string) (group, kind string, err error) {
	group, kind, ok := strings.Cut(word, "/")
	if !ok || kind == "" {
		return "", "", fail.Fatal("--%s %q: want GROUP/KIND", flag, word)
	}
	return group, kind, nil
}

// apply changes a spec as the flags say.
func (f *specFlags) apply(s *v1alpha1.AppProjectSpec) error {
	if f.fs.Changed("description") {
		s.Description = f.description
	}
	if f.fs.Changed("src") {
		s.SourceRepos = f.sources
	}
	if f.fs.Changed("source-namespaces") {
		s.SourceNamespaces = f.namespaces
	}
	if f.fs.Changed("signature-keys") {
		s.SignatureKeys = nil
		for _, k := range f.keys {
			s.SignatureKeys = append(s.SignatureKeys, v1alpha1.SignatureKey{KeyID: k})
		}
	}
	if err := f.targets(s); err != nil {
		return err
	}
	if err := f.kinds(s); err != nil {
		return err
	}
	if f.fs.Changed("orphaned-resources") || f.fs.Changed("orphaned-resources-warn") {
		if !f.orphaned && !f.orphanedWarn {
			s.OrphanedResources = nil
			return nil
		}
		if s.OrphanedResources == nil {
			s.OrphanedResources = &v1alpha1.OrphanedResources{}
		}
		warn := f.orphanedWarn
		s.OrphanedResources.Warn = &warn
	}
	return nil
}

func (f *specFlags) targets(s *v1alpha1.AppProjectSpec) error {
	if f.fs.Changed("dest") {
		s.Destinations = nil
		for _, w := range f.dests {
			p, err := parts(w, 2, "dest")
			if err != nil {
				return err
			}
			s.Destinations = append(s.Destinations, v1alpha1.ApplicationDestination{Server: p[0], Namespace: p[1]})
		}
	}
	if f.fs.Changed("dest-service-accounts") {
		s.DestinationServiceAccounts = nil
		for _, w := range f.accounts {
			p, err := parts(w, 3, "dest-service-accounts")
			if err != nil {
				return err
			}
			s.DestinationServiceAccounts = append(s.DestinationServiceAccounts, v1alpha1.DestinationServiceAccount{Server: p[0], Namespace: p[1], DefaultServiceAccount: p[2]})
		}
	}
	return nil
}

func (f *specFlags) kinds(s *v1alpha1.AppProjectSpec) error {
	for _, l := range []struct {
		flag  string
		words []string
		into  *[]v1alpha1.ClusterResourceRestriction
	}{{"allow-cluster-resource", f.allowCluster, &s.ClusterResourceWhitelist}, {"deny-cluster-resource", f.denyCluster, &s.ClusterResourceBlacklist}} {
		if !f.fs.Changed(l.flag) {
			continue
		}
		*l.into = nil
		for _, w := range l.words {
			group, kind, err := groupKind(w, l.flag)
			if err != nil {
				return err
			}
			*l.into = append(*l.into, v1alpha1.ClusterResourceRestriction{Group: group, Kind: kind})
		}
	}
	for _, l := range []struct {
		flag  string
		words []string
		into  *[]v1alpha1.GroupKind
	}{{"allow-namespaced-resource", f.allowNamespaced, &s.NamespaceResourceWhitelist}, {"deny-namespaced-resource", f.denyNamespaced, &s.NamespaceResourceBlacklist}} {
		if !f.fs.Changed(l.flag) {
			continue
		}
		*l.into = nil
		for _, w := range l.words {
			group, kind, err := groupKind(w, l.flag)
			if err != nil {
				return err
			}
			*l.into = append(*l.into, v1alpha1.GroupKind{Group: group, Kind: kind})
		}
	}
	return nil
}
