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
			proof := listed[id]
			switch {
			case len(proof) == 0:
				t.Errorf("%s is not listed in ids.txt", id)
			case proof[0] == "open" && len(proof) == 1:
				t.Errorf("%s is open, and ids.txt does not say why", id)
			case proof[0] == "open":
				open++
			default:
				for one := range strings.SplitSeq(strings.Join(proof, " "), " & ") {
					if err := proves(strings.Fields(one), id, scripts); err != nil {
						t.Errorf("%s: %v", id, err)
					}
				}
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

// proves says what is wrong with one proof of ids.txt: nothing when it exists.
func proves(proof []string, id string, scripts map[string]bool) error {
	switch {
	case len(proof) > 0 && proof[0] == "script":
		if name := append(proof, id)[1]; !scripts[name] {
			return fmt.Errorf("testdata/%s.txt does not exist", name)
		}
		return nil
	case len(proof) == 3 && proof[0] == "golden":
		raw, err := os.ReadFile(filepath.Join("../..", proof[1]))
		if err != nil {
			return err
		}
		if !bytes.Contains(raw, []byte("\n-- "+proof[2]+" --\n")) {
			return fmt.Errorf("there is no %s in %s", proof[2], proof[1])
		}
		return nil
	case len(proof) == 2:
		return tested(proof[0], filepath.Join("../..", proof[1]))
	}
	return fmt.Errorf("%q is no proof: want script, golden or a test with its folder", strings.Join(proof, " "))
}

// tested says what is wrong with TestName or TestName/case in a folder. The
// case is the beginning, of whole words, of a string in the tests of the folder,
// with _ for spaces.
func tested(name, dir string) error {
	name, part, parts := strings.Cut(name, "/")
	function := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	words := regexp.MustCompile(`"` + regexp.QuoteMeta(strings.ReplaceAll(part, "_", " ")) + `[ "]`)
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	there, played := false, !parts
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		there, played = there || function.Match(raw), played || words.Match(raw)
	}
	switch {
	case there && !played:
		return fmt.Errorf("%s of %s has no case %q", name, dir, part)
	case there:
		return nil
	}
	return fmt.Errorf("there is no test %s in %s", name, dir)
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
	shown := map[string]bool{}
	for _, q := range quoted.FindAllStringSubmatch(string(guide), -1) {
		shown[q[1]] = true
		if script, err := os.ReadFile("testdata/" + q[1] + ".txt"); err != nil || string(script) != q[2] {
			t.Errorf("the guide quotes %s differently: %v", q[1], err)
		}
	}
	for capability, scripts := range capabilities {
		for script := range strings.FieldsSeq(scripts) {
			if !shown[script] {
				t.Errorf("the guide does not show %s: script %s is missing", capability, script)
			}
		}
	}
}

// capabilities are what a rollout can do, with the scripts by which the guide
// shows it.
var capabilities = map[string]string{
	"steps in order": "C1 C2 C3", "selectors and labels": "B9 B10 B16", "percentages and batches": "C4", "sliding windows": "C5",
	"only what changes": "C9 C10", "restart": "E1 E14", "queue": "E8", "fix and revert": "E2 E4", "membership": "F1 F10",
	"halting and recovery": "G1 G2", "tolerated failures": "G10 G11 G9", "regression": "G5 G5-halt", "retry": "G4", "pause by annotation": "H1 H3",
	"pause by field": "H7", "windows": "H9 H10", "bake time": "H12 H14", "batch bake time": "H34", "approval": "H15 H15-after H16", "approval timeout": "H18",
	"step timeout": "H19 H8", "application timeout": "H20", "rollback": "H21 H22 H23 H35", "a rejected target again": "H35-again",
	"analysis": "H28 H28-good H28-rollback H29 H30", "abort": "H32", "dry run": "H33", "inheritance": "H36", "manual syncs": "I2 I17 H5",
	"without automated sync": "I5 I6 I6-sync", "unmatched": "B11 B12 B13", "self-heal": "I8 I18", "leaving out": "F16", "project windows": "I13",
	"crashes": "J2 J8 J25", "two controllers": "J14", "events": "N6", "deletion order": "L1 L2", "what is ignored": "A4 A3",
}

// told are the events of spec/progressive-sync.md §7.7 and the reasons of the
// conditions of §7.6; those in brackets a Go test of the controller expects.
const told = `RolloutStarted RolloutSuperseded RolloutStepStarted RolloutBatchStarted RolloutStepHealthy RolloutStepCompleted RolloutPaused
RolloutResumed RolloutAwaitingApproval RolloutApproved RolloutRetried RolloutCompleted RolloutRolledBack RolloutStrategyInvalid (RolloutAbandoned)
StepSelectorOverlap ApplicationUnmatched ManualSyncRequired RolloutApplicationFailed RolloutStepTimedOut RolloutHalted RolloutAnalysisFailed
RolloutRollbackStarted RolloutAborted RolloutHealthRegressed RolloutStalled (ProgressiveSyncsDisabled)
ApplicationDegraded SyncFailed ComparisonFailed StepTimeoutExceeded MaxFailuresExceeded AnalysisFailed ApprovalTimeout CompletedStepRegressed
InvalidStrategy Aborted RolledBack PausedByAnnotation PausedBySpec PausedByWindow BeforeStep AfterStep ProgressiveSyncsDisabled
UnknownStrategyType NoSteps PolicyForbidsUpdate MultipleStepsMatch NoStepMatches AutomatedSyncDisabled`

// TestEveryEventAndReasonIsExpected: there is no event and no reason that
// nobody waits for.
func TestEveryEventAndReasonIsExpected(t *testing.T) {
	t.Parallel()
	read := func(pattern string) string {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		var all strings.Builder
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(raw)
			all.WriteByte('\n')
		}
		return all.String()
	}
	scripts, controller := read("testdata/*.txt"), read("../../internal/controller/advance/*_test.go")
	for name := range strings.FieldsSeq(told) {
		inner, bracketed := strings.CutPrefix(name, "(")
		inner = strings.TrimSuffix(inner, ")")
		expected := regexp.MustCompile(`(?m)^expect (event ` + inner + ` [1-9]|[a-z-]+ ` + inner + `$)`)
		switch {
		case bracketed && !strings.Contains(controller, inner):
			t.Errorf("no test of the controller expects %s", inner)
		case !bracketed && !expected.MatchString(scripts):
			t.Errorf("no script expects %s", inner)
		}
	}
}
