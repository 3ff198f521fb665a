package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
)

// ghcr is the registry of GitHub.
type ghcr struct{}

func (ghcr) name() string { return "GHCR" }

func (ghcr) sent(h http.Header) bool { return h.Get("X-GitHub-Event") == "package" }

func (ghcr) verify(s Secrets, r *http.Request, body []byte) (bool, error) {
	return s.GitHub != "", signed(s.GitHub, r.Header.Get("X-Hub-Signature-256"), body)
}

type ghcrEvent struct {
	Action  string
	Package struct {
		Name           string
		PackageType    string `json:"package_type"`
		Owner          struct{ Login string }
		PackageVersion struct {
			ContainerMetadata struct {
				Tag struct{ Name string }
			} `json:"container_metadata"`
		} `json:"package_version"`
	}
}

func (ghcr) parse(_ http.Header, body []byte) (Event, error) {
	var e ghcrEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, err
	}
	p := e.Package
	tag := p.PackageVersion.ContainerMetadata.Tag.Name
	if e.Action != "published" || !strings.EqualFold(p.PackageType, "container") || tag == "" || p.Owner.Login == "" || p.Name == "" {
		return Event{}, nil
	}
	return Event{Images: []Image{{URL: "oci://ghcr.io/" + p.Owner.Login + "/" + p.Name, Tag: tag}}}, nil
}
