package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestFetcherOptions(t *testing.T) {
	o, err := fetcherOptions(map[string]string{
		"reposerver.helm.user.agent": "me", "reposerver.oci.layer.media.types": "a/b, c/d", "reposerver.helm.manifest.max.extracted.size": "5M", "reposerver.oci.manifest.max.extracted.size": "7M",
	})
	if err != nil || o.UserAgent != "me" || fmt.Sprint(o.MediaTypes) != "[a/b c/d]" || o.Archive.Expanded != 7_000_000 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := fetcherOptions(map[string]string{"reposerver.oci.manifest.max.extracted.size": "much"}); err == nil || !strings.Contains(err.Error(), "reposerver.oci.manifest.max.extracted.size") {
		t.Errorf("error %v does not name the key", err)
	}
	if o, err := fetcherOptions(nil); err != nil || o.MediaTypes != nil || o.Archive.Expanded != 0 {
		t.Errorf("%+v, %v", o, err)
	}
}
