// Package folder packs a folder of this machine so that the server can render it
// in place of the source of an Application (--local).
//
//	folder ─► its files ─► what they name outside of it ─► tar.gz, at the source's path
//
// Only what a render can read is sent: the folder itself, and of the rest of the
// repository what a kustomization, a chart, a jsonnet file or the Application
// names there by a path. What lies outside of the repository is never sent, and
// neither is .git.
package folder
