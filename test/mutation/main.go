// Command mutation puts deliberate mistakes into the planner, one at a time,
// and requires that a test notices each of them. The source stays as it is:
// the compiler is given the changed file as an overlay.
//
//	go run ./test/mutation [-only TEXT]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// planner is the package that mistakes are put into.
const planner = "internal/domain/rollout"

// randomEvents is how many random events a mistake must survive.
const randomEvents = "100000"

// patience bounds the tests of one mistake.
const patience = 3 * time.Minute

type mutation struct{ name, file, from, to string }

func main() {
	only := flag.String("only", "", "run the mutations whose name contains this")
	list := flag.String("list", "test/mutation/mutations.txt", "the mutations")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *list, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, list, only string) error {
	raw, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	all, err := parse(string(raw))
	if err != nil {
		return err
	}
	var survived []string
	var broken []error
	tried := 0
	for _, m := range all {
		if !strings.Contains(m.name, only) {
			continue
		}
		tried++
		begin := time.Now()
		killer, err := try(ctx, m)
		switch {
		case err != nil:
			broken = append(broken, fmt.Errorf("%s: %w", m.name, err))
		case killer == "":
			survived = append(survived, m.name)
			fmt.Printf("SURVIVED  %s\n", m.name)
		default:
			fmt.Printf("killed    %-60s %4.1f s  %s\n", m.name, time.Since(begin).Seconds(), killer)
		}
	}
	fmt.Printf("%d of %d mutations killed\n", tried-len(survived)-len(broken), tried)
	if len(broken) > 0 {
		return errors.Join(broken...)
	}
	if len(survived) > 0 {
		return fmt.Errorf("no test notices: %s", strings.Join(survived, "; "))
	}
	return nil
}

// parse reads the list.
func parse(text string) ([]mutation, error) {
	var out []mutation
	for _, part := range strings.Split("\n"+text, "\n== ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		m := mutation{name: strings.TrimSpace(name)}
		var from, to []string
		for _, line := range strings.Split(body, "\n") {
			switch {
			case strings.HasPrefix(line, "file "):
				m.file = strings.TrimSpace(line[5:])
			case strings.HasPrefix(line, "- "):
				from = append(from, strings.TrimSpace(line[2:]))
			case strings.HasPrefix(line, "+ "):
				to = append(to, strings.TrimSpace(line[2:]))
			}
		}
		m.from, m.to = strings.Join(from, "\n"), strings.Join(to, "\n")
		if m.file == "" || m.from == "" || m.to == "" {
			return nil, fmt.Errorf("%s: file, - or + is missing", m.name)
		}
		out = append(out, m)
	}
	return out, nil
}

// apply changes the source; blanks at both ends of lines do not count.
func (m mutation) apply(source string) (string, error) {
	var lines []string
	for _, line := range strings.Split(m.from, "\n") {
		lines = append(lines, regexp.QuoteMeta(line))
	}
	found := regexp.MustCompile(strings.Join(lines, `[ \t]*\n[ \t]*`)).FindAllStringIndex(source, -1)
	if len(found) != 1 {
		return "", fmt.Errorf("the text is %d times in %s, it must be there once:\n%s", len(found), m.file, m.from)
	}
	return source[:found[0][0]] + m.to + source[found[0][1]:], nil
}

var failed = regexp.MustCompile(`--- FAIL: (\S+)`)

// try runs the tests on the changed planner; it returns the test that noticed,
// or nothing.
func try(ctx context.Context, m mutation) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	path, err := filepath.Abs(filepath.Join(planner, m.file))
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	changed, err := m.apply(string(source))
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "mutation-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }() // only a temporary folder is left behind
	file, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: file}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(file, []byte(changed), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "scenario.test")
	build := []string{"test", "-c", "-o", binary, "-overlay", overlay, "-vet=off", "-ldflags=-s -w", "./test/scenario"}
	if out, err := command(ctx, ".", "go", build...); err != nil {
		return "", fmt.Errorf("it does not compile: %w:\n%s", err, out)
	}
	for _, tests := range []string{"TestScripts", "TestRandom"} {
		if name, err := noticed(command(ctx, "test/scenario", binary, "-test.run", "^"+tests+"$", "-test.failfast")); name != "" || err != nil {
			return name, err
		}
	}
	return noticed(command(ctx, ".", "go", "test", "-overlay", overlay, "-vet=off", "-count=1", "./"+planner))
}

// command runs a program in a folder and returns what it said.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SLUICE_ROLLOUT_EVENTS="+randomEvents)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		return "--- FAIL: endless", err
	}
	return out.String(), err
}

// noticed names the test that failed.
func noticed(text string, err error) (string, error) {
	if err == nil {
		return "", nil
	}
	if all := failed.FindAllStringSubmatch(text, 2); len(all) > 0 {
		return all[len(all)-1][1], nil
	}
	if strings.Contains(text, "panic:") {
		return "panic", nil
	}
	return "", fmt.Errorf("%w:\n%s", err, text)
}
