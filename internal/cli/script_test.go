package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/cli"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/test/apiserver"
)

var update = flag.Bool("update", false, "write golden files anew")

// TestMain lets scripts run the command line under its two names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"argocd": func() { os.Exit(program("argocd")) },
		"sluice": func() { os.Exit(program("sluice")) },
	})
}

// program is the command line with a clock that begins at a fixed time.
func program(name string) int {
	c := console.System(name, console.Build{
		Version: "v1.2.3", BuildDate: "2026-01-01T00:00:00Z", GitCommit: "abc", GitTreeState: "clean", GoVersion: "go1", Compiler: "gc", Platform: "linux/amd64",
	})
	c.Clock = begun{clock.RealClock{}, time.Now()}
	return cli.New(c, cli.Parts{}).Run(context.Background(), os.Args[1:])
}

// begun is a clock that runs from a fixed time on, in whole seconds of which
// none pass in a short test.
type begun struct {
	clock.RealClock
	start time.Time
}

func (b begun) Now() time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Since(b.start).Truncate(time.Minute))
}

func (b begun) Since(t time.Time) time.Duration { return b.Now().Sub(t) }

// serverKey of the values of a script.
type serverKey struct{}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/scripts", UpdateScripts: *update, RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv("HOME", e.WorkDir)
			raw, err := os.ReadFile(filepath.Join(e.WorkDir, "state.yaml"))
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			api, err := apiserver.Load(raw)
			if err != nil {
				return err
			}
			listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			server := &http.Server{Handler: api, ReadHeaderTimeout: time.Minute}
			go func() { _ = server.Serve(listener) }()
			e.Defer(func() { _ = server.Close() })
			e.Values[serverKey{}] = api
			e.Setenv("ADDRESS", listener.Addr().String())
			e.Setenv("ARGOCD_SERVER", listener.Addr().String())
			e.Setenv("ARGOCD_OPTS", "--plaintext")
			e.Values[envKey{}] = e.Vars
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "asked": asked, "sent": sent, "terminal": onTerminal},
	})
}

// code N PROGRAM ARGS runs a program that must end with exit code N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARGS")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func server(ts *testscript.TestScript) *apiserver.Server {
	api, ok := ts.Value(serverKey{}).(*apiserver.Server)
	if !ok {
		ts.Fatalf("the script has no state.yaml")
	}
	return api
}

// asked REQUEST says that the server got a request that begins so.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	all := server(ts).Requests()
	found := false
	for _, r := range all {
		found = found || strings.HasPrefix(r, strings.Join(args, " "))
	}
	if found == neg {
		ts.Fatalf("requests were:\n%s", strings.Join(all, "\n"))
	}
}

// sent METHOD PATH prints the last body of a request, as formatted JSON.
func sent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sent METHOD PATH")
	}
	var body any
	ts.Check(json.Unmarshal(server(ts).Body(args[0]+" "+args[1]), &body))
	raw, err := json.MarshalIndent(body, "", "  ")
	ts.Check(err)
	_, _ = fmt.Fprintf(ts.Stdout(), "%s\n", raw)
}
