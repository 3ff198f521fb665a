// Package remote fetches what is not Git: charts of Helm repositories over
// HTTP, charts and artifacts of OCI registries, and single files by URL.
//
//	Chart(repository, name, versions) ──► index.yaml ──► newest version ──► archive ──► tree
//	                                  └─► tags of OCI ─┘
//	Artifact(oci://..., revision) ──► tag or range ──► digest ──► layer ──► tree
//	File(https://...) ──► content
//
// Answers are remembered: an exact version or digest for as long as there is
// room, what may move (ranges, tags, files) for the age given in Options.
// Indexes lie on disk with their ETag and are read line by line, so that a
// large one costs no memory.
//
// A credential goes to the scheme, host and port of the repository it was
// declared for and nowhere else: not to another host named in an index unless
// passCredentials says so, and never along a redirect. Files by URL are not
// fetched from loopback, link-local or private addresses unless the host is
// allowed. Every transfer is bounded in bytes and time; archives are unpacked
// into memory with the limits of tree.Untar.
package remote
