package destination_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/destination"
)

func TestResolve(t *testing.T) {
	clusters := destination.Clusters{
		{Name: "eu", Server: "https://eu"}, {Name: "us", Server: "https://us"},
		{Name: "twin", Server: "https://t1"}, {Name: "twin", Server: "https://t2"},
	}
	for _, c := range []struct{ server, name, want, err string }{
		{"https://eu", "", "https://eu", ""},
		{"https://eu/", "", "https://eu", ""},
		{"", "us", "https://us", ""},
		{"https://eu", "eu", "", "can't have both name and server defined"},
		{"", "", "", "Destination server missing from app spec"},
		{"https://nowhere", "", "", `cluster "https://nowhere" is not registered`},
		{"", "nowhere", "", "nowhere"},
		{"", "twin", "", "there are 2 clusters with the same name"},
	} {
		got, err := clusters.Resolve(c.server, c.name)
		if got.Server != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Resolve(%q, %q) = %q, %v; want %q, %q", c.server, c.name, got.Server, err, c.want, c.err)
		}
	}
}
