// Package settings reads what operators declare on the hub: the config maps
// argocd-cm and argocd-cmd-params-cm, and the Secrets that register clusters
// and repositories.
//
//	Secrets, ConfigMaps ──watch──► Parse (pure) ──► Snapshot ──► readers
//	                                                   │
//	                                                   └──► OnChange listeners
//
// A Snapshot is immutable: a reader that holds one sees one consistent state.
// A Secret that cannot be understood becomes a Problem that names the Secret,
// the key and the remedy; it never hides the others. Values of Secrets never
// appear in a Problem.
package settings
