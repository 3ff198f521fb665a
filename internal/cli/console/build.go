package console

import (
	"runtime"
	"runtime/debug"
)

// BuildOf says what this program was built from; version is what the linker set.
func BuildOf(version string) Build {
	b := Build{
		Version: version, GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH, GitTreeState: "clean",
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.GitCommit = s.Value
		case "vcs.time":
			b.BuildDate = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				b.GitTreeState = "dirty"
			}
		}
	}
	return b
}
