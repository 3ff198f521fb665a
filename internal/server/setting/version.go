package setting

import (
	"context"
	"runtime"

	"github.com/sluice-cd/sluice/internal/server/route"
)

// Build says what program this is; the keys are capitalised for compatibility.
type Build struct {
	Version          string
	BuildDate        string `json:",omitempty"`
	GitCommit        string `json:",omitempty"`
	GitTag           string `json:",omitempty"`
	GitTreeState     string `json:",omitempty"`
	GoVersion        string `json:",omitempty"`
	Compiler         string `json:",omitempty"`
	Platform         string `json:",omitempty"`
	KustomizeVersion string `json:",omitempty"`
	HelmVersion      string `json:",omitempty"`
	KubectlVersion   string `json:",omitempty"`
	JsonnetVersion   string `json:",omitempty"`
	ExtraBuildInfo   string `json:",omitempty"`
}

// VersionQuery asks for nothing.
type VersionQuery struct{}

// Version says which program answers; what it was built from only to those who
// are logged in.
func (s *Service) Version(_ context.Context, c *route.Call, _ *VersionQuery) (*Build, error) {
	if !c.Who.LoggedIn() {
		return &Build{Version: s.Build.Version}, nil
	}
	b := s.Build
	b.GoVersion, b.Compiler, b.Platform = runtime.Version(), runtime.Compiler, runtime.GOOS+"/"+runtime.GOARCH
	return &b, nil
}
