package rbac

import (
	"slices"
	"strings"
)

// Resources of policies (spec/rbac.md §3).
const (
	Applications      = "applications"
	ApplicationSets   = "applicationsets"
	Projects          = "projects"
	Clusters          = "clusters"
	Repositories      = "repositories"
	WriteRepositories = "write-repositories"
	Certificates      = "certificates"
	Accounts          = "accounts"
	GPGKeys           = "gpgkeys"
	Logs              = "logs"
	Exec              = "exec"
	Extensions        = "extensions"
)

// Actions of policies.
const (
	Get      = "get"
	Create   = "create"
	Update   = "update"
	Delete   = "delete"
	Sync     = "sync"
	Override = "override"
	Action   = "action"
	Invoke   = "invoke"
)

var resources = []string{Accounts, Applications, ApplicationSets, Certificates, Clusters, Exec, Extensions, GPGKeys, Logs, Projects, Repositories, WriteRepositories}

var actions = []string{Action, Create, Delete, Get, Invoke, Override, Sync, Update}

// Resources lists the names of all resources.
func Resources() []string { return slices.Clone(resources) }

// Actions lists the names of all actions.
func Actions() []string { return slices.Clone(actions) }

// KnownResource says whether policies speak of such a resource.
func KnownResource(name string) bool { return slices.Contains(resources, name) }

// KnownAction says whether policies speak of such an action: a plain one, or
// action/, update/ or delete/ with more.
func KnownAction(name string) bool {
	verb, rest, deep := strings.Cut(name, "/")
	if deep {
		return rest != "" && (verb == Action || verb == Update || verb == Delete)
	}
	return slices.Contains(actions, name)
}

var aliases = map[string]string{
	"app": Applications, "apps": Applications, "application": Applications,
	"appset": ApplicationSets, "appsets": ApplicationSets, "applicationset": ApplicationSets,
	"cert": Certificates, "certs": Certificates, "certificate": Certificates,
	"cluster": Clusters, "extension": Extensions, "gpgkey": GPGKeys, "key": GPGKeys,
	"log": Logs, "logs": Logs, "exec": Exec, "account": Accounts,
	"proj": Projects, "projs": Projects, "project": Projects,
	"repo": Repositories, "repos": Repositories, "repository": Repositories,
}

// Canonical is the resource that a short name means (spec/rbac.md §8); what is
// no short name stays as it is.
func Canonical(resource string) string {
	if name, ok := aliases[resource]; ok {
		return name
	}
	return resource
}

// scoped are the resources whose objects begin with a project.
func scoped(resource string) bool {
	switch resource {
	case Applications, ApplicationSets, Logs, Exec, Clusters, Repositories:
		return true
	}
	return false
}

// Object is the name of an Application or ApplicationSet in policies:
// project/name, or project/namespace/name outside the control plane.
func Object(project, namespace, name, controlPlane string) string {
	if namespace == "" || namespace == controlPlane {
		return project + "/" + name
	}
	return project + "/" + namespace + "/" + name
}

// OnResource is the action on a child of an Application: verb is update or
// delete (spec/rbac.md §3, fine-grained update and delete).
func OnResource(verb, group, kind, namespace, name string) string {
	return strings.Join([]string{verb, group, kind, namespace, name}, "/")
}

// RunAction is the action of running a resource action.
func RunAction(group, kind, name string) string {
	return strings.Join([]string{Action, group, kind, name}, "/")
}
