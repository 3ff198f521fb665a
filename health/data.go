// Package rules embeds the health and action scripts that come with the
// product: <group>/<Kind>/health.lua and actions.lua, core for the core group,
// _ for any text in a group or kind. cases.txtar beside them holds what they
// must say; adding a kind needs no Go.
package rules

import "embed"

// Files are the scripts and, at the top, the functions they share.
//
//go:embed *.lua */*/*.lua
var Files embed.FS
