//go:build !linux

package gitrepo

import "os/exec"

// bindToParent does nothing here: only git itself ends with its context.
func bindToParent(*exec.Cmd) {}

// limitFiles does nothing here: only the disk budget bounds a fetch.
func limitFiles(int, int64) {}
