package gitrepo

import (
	"fmt"
	"strings"
	"testing"
)

// manyRefs is the answer of a repository with n branches and n tags.
func manyRefs(n int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\tHEAD\n", id(1))
	for i := range n {
		fmt.Fprintf(&b, "%s\trefs/heads/team/branch-%06d\n", id(i), i)
	}
	for i := range n {
		fmt.Fprintf(&b, "%s\trefs/tags/v1.%d.0\n%s\trefs/tags/v1.%d.0^{}\n", id(i), i, id(i+n), i)
	}
	return []byte(b.String())
}

func TestManyRefs(t *testing.T) {
	const n = 100_000
	refs := parseRefs(manyRefs(n))
	if len(refs.names) != 2*n+1 {
		t.Fatalf("%s, want %d", refs, 2*n+1)
	}
	for _, i := range []int{0, 1, 77_777, n - 1} {
		for revision, want := range map[string]string{
			fmt.Sprintf("team/branch-%06d", i): id(i), fmt.Sprintf("v1.%d.0", i): id(i + n), fmt.Sprintf("refs/tags/v1.%d.0", i): id(i + n),
		} {
			if got, err := refs.Resolve(Target{Revision: revision}); err != nil || got != want {
				t.Errorf("%s is %s, %v; want %s", revision, got, err, want)
			}
		}
	}
	if got, err := refs.Resolve(Target{Revision: "^1"}); err != nil || got != id(2*n-1) {
		t.Errorf("^1 is %s, %v", got, err)
	}
	if got, err := refs.Resolve(Target{Revision: "<1.500"}); err != nil || got != id(n+499) {
		t.Errorf("<1.500 is %s, %v", got, err)
	}
	if !refs.offers(id(2*n-1)) || refs.offers(id(3*n)) {
		t.Error("offers is wrong")
	}
	if got := refs.tagsAt(id(n + 5)); len(got) != 1 || got[0] != "v1.5.0" {
		t.Errorf("tags at a commit: %v", got)
	}
}

func TestRefsInAnyOrderAndWithNoise(t *testing.T) {
	refs := parseRefs([]byte(id(3) + "\trefs/tags/z\n" + "warning: x\n" + "zz\trefs/heads/bad\n" + id(4) + "\trefs/tags/z^{}\n" + id(1) + "\trefs/heads/a\n" + id(9) + "\trefs/tags/other^{}\n" + id(2) + "\tHEAD"))
	for revision, want := range map[string]string{"z": id(4), "a": id(1), "HEAD": id(2)} {
		if got, err := refs.Resolve(Target{Revision: revision}); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", revision, got, err, want)
		}
	}
	if len(refs.names) != 3 {
		t.Errorf("%s: %v", refs, refs.names)
	}
}

func FuzzRefs(f *testing.F) {
	f.Add(manyRefs(2), "^1", "")
	f.Add([]byte("\t\n^{}\n"+id(1)+"\t^{}\n"), "", "v")
	f.Fuzz(func(t *testing.T, raw []byte, revision, prefix string) {
		refs := parseRefs(raw)
		if got, err := refs.Resolve(Target{Revision: revision, TagPrefix: prefix}); err == nil && !shortID.MatchString(got) {
			t.Errorf("%q resolves to %q", revision, got)
		}
	})
}

func BenchmarkRefsParse(b *testing.B) {
	raw := manyRefs(50_000)
	b.ReportAllocs()
	for b.Loop() {
		parseRefs(raw)
	}
}

// BenchmarkRefLookup finds one of 100,000 refs: by name, and as a range.
func BenchmarkRefLookup(b *testing.B) {
	refs := parseRefs(manyRefs(50_000))
	for _, revision := range []string{"team/branch-033333", "v1.44444.0", "^1.1"} {
		b.Run(strings.ReplaceAll(revision, "/", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := refs.Resolve(Target{Revision: revision}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
