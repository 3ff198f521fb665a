//go:build !linux

package gitrepo

import "os/exec"

// bindToParent does nothing here: only git itself ends with its context.
func bindToParent(*exec.Cmd) {}
