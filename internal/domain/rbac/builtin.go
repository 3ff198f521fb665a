package rbac

// Names of the built-in policy (spec/rbac.md §2).
const (
	RoleReadonly = "role:readonly"
	RoleAdmin    = "role:admin"
	Admin        = "admin"
)

// Builtin is the policy that is always there: a reader, an administrator, and
// the local user admin, who is one.
func Builtin() Text {
	var t Text
	add := func(role, resource, object string, actions ...string) {
		for _, a := range actions {
			t.Lines = append(t.Lines, Line{Subject: role, Resource: resource, Action: a, Object: object, Effect: allow, Source: "built-in policy"})
		}
	}
	for _, r := range []string{Applications, ApplicationSets, Logs} {
		add(RoleReadonly, r, "*/*", Get)
	}
	for _, r := range []string{Certificates, Clusters, Repositories, WriteRepositories, Projects, Accounts, GPGKeys} {
		add(RoleReadonly, r, "*", Get)
	}
	add(RoleAdmin, Applications, "*/*", Create, Update, Update+"/*", Delete, Delete+"/*", Sync, Override, Action+"/*")
	add(RoleAdmin, ApplicationSets, "*/*", Get, Create, Update, Delete)
	for _, r := range []string{Certificates, Clusters, Repositories, WriteRepositories, Projects} {
		add(RoleAdmin, r, "*", Create, Update, Delete)
	}
	add(RoleAdmin, Accounts, "*", Update)
	add(RoleAdmin, GPGKeys, "*", Create, Delete)
	add(RoleAdmin, Exec, "*/*", Create)
	t.Grants = []Grant{
		{Member: RoleAdmin, Role: RoleReadonly, Source: "built-in policy"},
		{Member: Admin, Role: RoleAdmin, Source: "built-in policy"},
	}
	return t
}
