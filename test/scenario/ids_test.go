package scenario

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sections says how many scenarios each letter has.
var sections = map[string]int{"A": 12, "B": 16, "C": 14, "D": 15, "E": 14, "F": 18, "G": 18, "H": 33, "I": 18, "J": 25, "K": 8, "L": 10, "M": 40, "N": 10}

// TestEveryIDIsListed requires that ids.txt names every scenario with what
// proves it, and that the proof exists.
func TestEveryIDIsListed(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("ids.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string][]string{}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] != "#" {
			listed[words[0]] = words[1:]
		}
	}
	scripts := map[string]bool{}
	files, _ := filepath.Glob("testdata/*.txt")
	for _, f := range files {
		scripts[strings.TrimSuffix(filepath.Base(f), ".txt")] = true
	}
	open := 0
	for letter, n := range sections {
		for i := 1; i <= n; i++ {
			id := fmt.Sprint(letter, i)
			switch proof := listed[id]; {
			case len(proof) == 0:
				t.Errorf("%s is not listed in ids.txt", id)
			case proof[0] == "open":
				open++
			case proof[0] == "script":
				if name := append(proof, id)[1]; !scripts[name] {
					t.Errorf("%s: testdata/%s.txt does not exist", id, name)
				}
			case !tests(t, filepath.Join("../..", proof[1]))[proof[0]]:
				t.Errorf("%s: there is no test %s in %s", id, proof[0], proof[1])
			}
		}
	}
	for name := range scripts {
		id, _, _ := strings.Cut(name, "-")
		if proof := listed[id]; len(proof) == 0 && !extra[id] {
			t.Errorf("testdata/%s.txt belongs to no scenario", name)
		}
	}
	t.Logf("%d scenarios are open, see ids.txt", open)
}

// extra are scenarios of our own.
var extra = map[string]bool{"H34": true, "H35": true, "H36": true}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

func tests(t *testing.T, dir string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(name)
		for _, m := range testFunc.FindAllSubmatch(raw, -1) {
			out[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var quoted = regexp.MustCompile("(?ms)^```text scenario (\\S+)\n(.*?)^```$")

// TestTheGuideQuotesTheScripts keeps the worked scenarios of the guide equal to
// the scripts that run.
func TestTheGuideQuotesTheScripts(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/guide/progressive-rollouts.md")
	if err != nil {
		t.Fatal(err)
	}
	all := quoted.FindAllStringSubmatch(string(guide), -1)
	if len(all) < 30 {
		t.Errorf("the guide quotes %d scripts", len(all))
	}
	for _, q := range all {
		if script, err := os.ReadFile("testdata/" + q[1] + ".txt"); err != nil || string(script) != q[2] {
			t.Errorf("the guide quotes %s differently: %v", q[1], err)
		}
	}
}
