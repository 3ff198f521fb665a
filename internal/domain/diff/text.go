package diff

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// contextLines surround each change in Text.
const contextLines = 3

// Text is the difference from live to prediction as a unified diff of YAML;
// empty when there is none. A deletion is shown as one.
func (r Result) Text() string {
	if !r.Modified && r.Live != nil && r.Predicted != nil {
		return ""
	}
	return unified(lines(r.Live), lines(r.Predicted), "live/"+r.Key.String(), "desired/"+r.Key.String())
}

func lines(o *unstructured.Unstructured) []string {
	if o == nil {
		return nil
	}
	raw, err := yaml.Marshal(o.Object)
	if err != nil {
		return []string{fmt.Sprintf("# cannot be shown: %v", err)}
	}
	return strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
}

// edit is one line of a diff: ' ' kept, '-' gone, '+' new.
type edit struct {
	op   byte
	text string
}

// maxCells bounds the work of lining up two texts; beyond it the differing
// middle is shown as replaced.
const maxCells = 4_000_000

// script lines up two texts.
func script(a, b []string) []edit {
	var head, tail []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, edit{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, edit{' ', a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	head = append(head, middle(a, b)...)
	for i := len(tail) - 1; i >= 0; i-- {
		head = append(head, tail[i])
	}
	return head
}

// middle is the longest common subsequence, by table.
func middle(a, b []string) []edit {
	var out []edit
	if len(a)*len(b) > maxCells {
		for _, s := range a {
			out = append(out, edit{'-', s})
		}
		for _, s := range b {
			out = append(out, edit{'+', s})
		}
		return out
	}
	width := len(b) + 1
	length := make([]int32, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				length[i*width+j] = length[(i+1)*width+j+1] + 1
			} else {
				length[i*width+j] = max(length[(i+1)*width+j], length[i*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || length[(i+1)*width+j] >= length[i*width+j+1]):
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}

// unified writes the changes with some lines around them.
func unified(a, b []string, from, to string) string {
	edits := script(a, b)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", from, to)
	lineA, lineB := 1, 1
	for start := 0; start < len(edits); {
		if edits[start].op == ' ' {
			start, lineA, lineB = start+1, lineA+1, lineB+1
			continue
		}
		begin := max(0, start-contextLines)
		end := hunkEnd(edits, start)
		back := start - begin
		lineA, lineB = lineA-back, lineB-back
		countA, countB := count(edits[begin:end])
		fmt.Fprintf(&out, "@@ -%d,%d +%d,%d @@\n", lineA, countA, lineB, countB)
		for _, e := range edits[begin:end] {
			out.WriteByte(e.op)
			out.WriteString(e.text)
			out.WriteByte('\n')
		}
		lineA, lineB, start = lineA+countA, lineB+countB, end
	}
	return out.String()
}

// hunkEnd finds where so many lines are equal that a new hunk begins.
func hunkEnd(edits []edit, start int) int {
	last := start
	for i := start; i < len(edits) && i-last <= 2*contextLines; i++ {
		if edits[i].op != ' ' {
			last = i
		}
	}
	return min(len(edits), last+1+contextLines)
}

func count(edits []edit) (a, b int) {
	for _, e := range edits {
		if e.op != '+' {
			a++
		}
		if e.op != '-' {
			b++
		}
	}
	return a, b
}
