// Package kustomize reads what administrators may tell kustomize
// (spec/config.md §2.4).
package kustomize

import (
	"fmt"
	"strings"
)

// BuildOptions are the arguments of "kustomize build" that administrators may
// set with kustomize.buildOptions of argocd-cm.
type BuildOptions struct {
	// Helm expands helmCharts.
	Helm bool
	// Unrestricted lets files be named outside the folder of a kustomization;
	// they stay inside the repository.
	Unrestricted bool
	// Legacy sorts as before kustomize 5.
	Legacy bool
	// Unsorted keeps the order of the files.
	Unsorted bool
	// ManagedBy adds the label app.kubernetes.io/managed-by.
	ManagedBy bool
}

// ParseBuildOptions reads kustomize.buildOptions. Options that start programs
// or reach a network are refused, and so are those that nobody can have meant.
func ParseBuildOptions(text string) (BuildOptions, error) {
	var o BuildOptions
	words := strings.Fields(text)
	for i := 0; i < len(words); i++ {
		name, value, joined := strings.Cut(words[i], "=")
		next := func() string {
			if !joined && i+1 < len(words) {
				i++
				value = words[i]
			}
			return value
		}
		on := !joined || value == "true"
		switch name {
		case "--enable-helm":
			o.Helm = on
		case "--enable-managedby-label":
			o.ManagedBy = on
		case "--stack-trace", "--enable-alpha-plugins=false":
		case "--load-restrictor":
			switch v := next(); v {
			case "LoadRestrictionsNone":
				o.Unrestricted = true
			case "LoadRestrictionsRootOnly":
				o.Unrestricted = false
			default:
				return o, fmt.Errorf("kustomize.buildOptions: --load-restrictor %q: want LoadRestrictionsNone or LoadRestrictionsRootOnly", v)
			}
		case "--reorder":
			switch v := next(); v {
			case "legacy":
				o.Legacy = true
			case "none":
				o.Unsorted = true
			default:
				return o, fmt.Errorf("kustomize.buildOptions: --reorder %q: want legacy or none", v)
			}
		default:
			return o, fmt.Errorf("kustomize.buildOptions: %s is not allowed: take it out of argocd-cm", name)
		}
	}
	return o, nil
}
