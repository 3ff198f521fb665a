package proj

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// rule is a command that changes one rule of a project.
type rule struct {
	use, short  string
	least, most int
	// edit changes the project; false writes nothing.
	edit func(p *v1alpha1.AppProject, args []string) (bool, error)
}

func (v *verbs) rule(r rule) *cobra.Command {
	return &cobra.Command{
		Use: r.use, Short: r.short, Args: command.Args(r.least, r.most), ValidArgsFunction: v.names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return v.change(cmd.Context(), args[0], func(p *v1alpha1.AppProject) (bool, error) { return r.edit(p, args[1:]) })
		},
	}
}

// add puts an element into a list; one that is there is an error.
func add[T comparable](all *[]T, one T, what string) (bool, error) {
	if slices.Contains(*all, one) {
		return false, fail.Fatal("Specified %s is already defined in project", what)
	}
	*all = append(*all, one)
	return true, nil
}

// remove takes an element out of a list; one that is not there is an error.
func remove[T comparable](all *[]T, one T, what string) (bool, error) {
	i := slices.Index(*all, one)
	if i < 0 {
		return false, fail.Fatal("Specified %s does not exist in project", what)
	}
	*all = slices.Delete(*all, i, i+1)
	return true, nil
}

func (v *verbs) rules() []*cobra.Command {
	project := func(s string) string { return s + " PROJECT " }
	return []*cobra.Command{
		v.destination("add-destination", "Permit a target", add[v1alpha1.ApplicationDestination]),
		v.destination("remove-destination", "No longer permit a target", remove[v1alpha1.ApplicationDestination]),
		v.account("add-destination-service-account", "Sync to a target as a service account", add[v1alpha1.DestinationServiceAccount]),
		v.account("remove-destination-service-account", "No longer sync to a target as a service account", remove[v1alpha1.DestinationServiceAccount]),
		v.rule(rule{project("add-source") + "URL", "Permit a repository", 2, 2, v.addSource}),
		v.rule(rule{project("remove-source") + "URL", "No longer permit a repository", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
			return remove(&p.Spec.SourceRepos, args[0], "source")
		}}),
		v.rule(rule{project("add-source-namespace") + "NAMESPACE", "Permit Applications in a namespace", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
			if slices.Contains(p.Spec.SourceNamespaces, args[0]) {
				v.d.Console.Printf("Source namespace '%s' already allowed in project\n", args[0])
				return false, nil
			}
			p.Spec.SourceNamespaces = append(p.Spec.SourceNamespaces, args[0])
			return true, nil
		}}),
		v.rule(rule{project("remove-source-namespace") + "NAMESPACE", "No longer permit Applications in a namespace", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
			return remove(&p.Spec.SourceNamespaces, args[0], "source namespace")
		}}),
		v.rule(rule{project("add-signature-key") + "KEY-ID", "Let a key sign commits", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
			return add(&p.Spec.SignatureKeys, v1alpha1.SignatureKey{KeyID: args[0]}, "signature key")
		}}),
		v.rule(rule{project("remove-signature-key") + "KEY-ID", "No longer let a key sign commits", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
			return remove(&p.Spec.SignatureKeys, v1alpha1.SignatureKey{KeyID: args[0]}, "signature key")
		}}),
		v.ignore("add-orphaned-ignore", "Leave objects out of those that nobody manages", add[v1alpha1.OrphanedResourceKey]),
		v.ignore("remove-orphaned-ignore", "Count objects again that nobody manages", remove[v1alpha1.OrphanedResourceKey]),
		v.clusterRule("allow-cluster-resource", true), v.clusterRule("deny-cluster-resource", false),
		v.namespaceRule("allow-namespace-resource", true), v.namespaceRule("deny-namespace-resource", false),
	}
}

func (v *verbs) addSource(p *v1alpha1.AppProject, args []string) (bool, error) {
	for _, r := range p.Spec.SourceRepos {
		if r == args[0] || r == "*" {
			v.d.Console.Printf("Source repository '%s' already allowed in project\n", r)
			return false, nil
		}
	}
	p.Spec.SourceRepos = append(p.Spec.SourceRepos, args[0])
	return true, nil
}

func (v *verbs) destination(name, short string, edit func(*[]v1alpha1.ApplicationDestination, v1alpha1.ApplicationDestination, string) (bool, error)) *cobra.Command {
	var byName bool
	c := v.rule(rule{name + " PROJECT SERVER/NAME NAMESPACE", short, 3, 3, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		d := v1alpha1.ApplicationDestination{Server: args[0], Namespace: args[1]}
		if byName {
			d.Server, d.Name = "", args[0]
		}
		return edit(&p.Spec.Destinations, d, "destination")
	}})
	c.Flags().BoolVar(&byName, "name", false, "the cluster is given by name, not by server")
	return c
}

func (v *verbs) account(name, short string, edit func(*[]v1alpha1.DestinationServiceAccount, v1alpha1.DestinationServiceAccount, string) (bool, error)) *cobra.Command {
	var namespace string
	c := v.rule(rule{name + " PROJECT SERVER NAMESPACE SERVICE_ACCOUNT", short, 4, 4, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		a := v1alpha1.DestinationServiceAccount{Server: args[0], Namespace: args[1], DefaultServiceAccount: args[2]}
		if namespace != "" {
			a.DefaultServiceAccount = namespace + ":" + args[2]
		}
		return edit(&p.Spec.DestinationServiceAccounts, a, "destination service account")
	}})
	c.Flags().StringVar(&namespace, "service-account-namespace", "", "namespace of the service account; default: that of the target")
	return c
}

func (v *verbs) ignore(name, short string, edit func(*[]v1alpha1.OrphanedResourceKey, v1alpha1.OrphanedResourceKey, string) (bool, error)) *cobra.Command {
	var object string
	c := v.rule(rule{name + " PROJECT GROUP KIND", short, 3, 3, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		k := v1alpha1.OrphanedResourceKey{Group: args[0], Kind: args[1], Name: object}
		if p.Spec.OrphanedResources == nil {
			p.Spec.OrphanedResources = &v1alpha1.OrphanedResources{}
		}
		return edit(&p.Spec.OrphanedResources.Ignore, k, "orphaned resource")
	}})
	c.Flags().StringVar(&object, "name", "", "name of the object")
	return c
}

// lists is which list -l means; white and black are old words.
func lists(word string, otherwise bool) (allow bool, err error) {
	switch word {
	case "":
		return otherwise, nil
	case "allow", "white":
		return true, nil
	case "deny", "black":
		return false, nil
	}
	return false, fail.Fatal("--list %q: use allow or deny", word)
}

// listed puts an element in or takes it out; it says whether something changed.
func listed[T comparable](all *[]T, one T, in bool) bool {
	i := slices.Index(*all, one)
	switch {
	case in && i < 0:
		*all = append(*all, one)
		return true
	case !in && i >= 0:
		*all = slices.Delete(*all, i, i+1)
		return true
	}
	return false
}

// listName is how messages call a list.
func listName(allow bool, what string) string {
	if allow {
		return "allowed " + what + " resources"
	}
	return "denied " + what + " resources"
}

func (v *verbs) told(text string, in, changed bool, list string) {
	switch {
	case in && changed:
		v.d.Console.Printf("%s is added to %s\n", text, list)
	case in:
		v.d.Console.Printf("%s already present in %s\n", text, list)
	case changed:
		v.d.Console.Printf("%s is removed from %s\n", text, list)
	default:
		v.d.Console.Printf("%s not in %s\n", text, list)
	}
}

func (v *verbs) clusterRule(name string, permit bool) *cobra.Command {
	var list string
	c := v.rule(rule{name + " PROJECT GROUP KIND [NAME]", "Change what cluster-scoped objects are permitted", 3, 4, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		allow, err := lists(list, true)
		if err != nil {
			return false, err
		}
		one := v1alpha1.ClusterResourceRestriction{Group: args[0], Kind: args[1]}
		text := fmt.Sprintf("Group '%s' and kind '%s'", args[0], args[1])
		if len(args) == 3 {
			one.Name = args[2]
			text = fmt.Sprintf("Group '%s', kind '%s' and name '%s'", args[0], args[1], args[2])
		}
		into := &p.Spec.ClusterResourceBlacklist
		if allow {
			into = &p.Spec.ClusterResourceWhitelist
		}
		// To permit is to be on the list of what is allowed, or off the other.
		in := permit == allow
		changed := listed(into, one, in)
		v.told(text, in, changed, listName(allow, "cluster"))
		return changed, nil
	}})
	c.Flags().StringVarP(&list, "list", "l", "", "allow or deny: which list to change; default allow")
	return c
}

func (v *verbs) namespaceRule(name string, permit bool) *cobra.Command {
	var list string
	c := v.rule(rule{name + " PROJECT GROUP KIND", "Change what namespaced objects are permitted", 3, 3, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		allow, err := lists(list, false)
		if err != nil {
			return false, err
		}
		into := &p.Spec.NamespaceResourceBlacklist
		if allow {
			into = &p.Spec.NamespaceResourceWhitelist
		}
		in := permit == allow
		changed := listed(into, v1alpha1.GroupKind{Group: args[0], Kind: args[1]}, in)
		v.told(fmt.Sprintf("Group '%s' and kind '%s'", args[0], args[1]), in, changed, listName(allow, "namespaced"))
		return changed, nil
	}})
	c.Flags().StringVarP(&list, "list", "l", "", "allow or deny: which list to change; default deny")
	return c
}
