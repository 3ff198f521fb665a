package supervisor

import (
	"strings"
	"testing"
)

func TestParseClusters(t *testing.T) {
	t.Parallel()
	got, err := ParseClusters("hub,eu-1:region=eu;wave=canary")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Name != "hub" || got[1].Labels["region"] != "eu" || got[1].Labels["wave"] != "canary" {
		t.Errorf("got %+v", got)
	}
	for text, want := range map[string]string{"A": "lower-case", "a,a": "given twice", "a:x": "key=value", "": "lower-case"} {
		if _, err := ParseClusters(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}
