package plugin

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestMain lets this binary be the program that git asks for passwords.
func TestMain(m *testing.M) {
	if os.Getenv(BinaryName) == AskPassBinary {
		answer, err := AskPass(context.Background(), os.Getenv(AskPassSocket), os.Getenv(AskPassNonce), os.Args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(answer)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// lending starts a plugin that prints how git would be asked, and a client.
func lending(t *testing.T, provide bool) (*Client, *Lender) {
	t.Helper()
	bin, sockets := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "argocd")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	sidecar(t, sockets, header+fmt.Sprintf("metadata: {name: p}\nspec: {provideGitCreds: %t, generate: {command: [sh, -c], args: [%q]}}\n", provide,
		`printf '{"kind": "A", "user": "%s", "password": "%s", "nonce": "%s", "bearer": "%s", "basic": "%s", "ssh": "%s", "key": "%s", "insecure": "%s", "cert": "%s"}' `+
			`"$([ -n "$GIT_ASKPASS" ] && $GIT_ASKPASS "Username for x")" "$([ -n "$GIT_ASKPASS" ] && $GIT_ASKPASS "Password for x")" "$ARGOCD_GIT_ASKPASS_NONCE" "$ARGOCD_GIT_BEARER_AUTH_HEADER" "$ARGOCD_GIT_AUTH_HEADER" `+
			`"$GIT_SSH_COMMAND" "$(printf %s "$GIT_SSH_COMMAND" | sed -n "s/.*IdentityFile='\([^']*\)'.*/\1/p" | xargs -r cat 2>/dev/null)" "$GIT_SSL_NO_VERIFY" "$(cat $GIT_SSL_CERT $GIT_SSL_KEY </dev/null | tr '\n' ' ')"`))
	lender := NewLender(filepath.Join(sockets, "ask"), rand.Reader)
	t.Cleanup(lender.Close)
	return NewClient(Options{Dir: sockets, Lender: lender}), lender
}

// TestLend: a plugin that asks for them gets the credentials of the repository
// for the time of its call, and no other does.
func TestLend(t *testing.T) {
	c, lender := lending(t, true)
	r := request(t, map[string]string{"app/x": "x"})
	for name, one := range map[string]struct {
		loan Loan
		want []string
	}{
		"password":    {Loan{Present: true, Username: "bot", Password: "s3cret"}, []string{`"user":"bot"`, `"password":"s3cret"`, `"basic":""`, `"insecure":""`}},
		"token alone": {Loan{Present: true, Password: "t0ken", Insecure: true}, []string{`"user":"x-access-token"`, `"password":"t0ken"`, `"insecure":"true"`}},
		"forced":      {Loan{Present: true, Username: "a", Password: "b", ForceBasic: true}, []string{`"basic":"Authorization: Basic YTpi"`}},
		"bearer":      {Loan{Present: true, BearerToken: "bear"}, []string{`"bearer":"Authorization: Bearer bear"`}},
		"key":         {Loan{Present: true, SSH: true, SSHPrivateKey: "the-key", KnownHosts: "host key"}, []string{`"key":"the-key"`, "StrictHostKeyChecking=yes", `"nonce":""`}},
		"certificate": {Loan{Present: true, ClientCertificate: "the-cert", ClientKey: "its-key"}, []string{`"cert":"the-cert its-key "`}},
		"none":        {Loan{}, []string{`"user":""`, `"nonce":""`}},
	} {
		r.Loan = func(context.Context) (Loan, error) { return one.loan, nil }
		got, err := c.Generate(t.Context(), "p", r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range one.want {
			if !strings.Contains(got[0], want) {
				t.Errorf("%s: %s, want %s in it", name, got[0], want)
			}
		}
		_, nonce, _ := strings.Cut(got[0], `"nonce":"`)
		nonce, _, _ = strings.Cut(nonce, `"`)
		if _, err := AskPass(t.Context(), lender.socket, nonce, "Password"); nonce != "" && (err == nil || !strings.Contains(err.Error(), "unknown nonce")) {
			t.Errorf("%s: the nonce lives on: %v", name, err)
		}
	}
	if _, err := AskPass(t.Context(), lender.socket, "", "Password"); err == nil || !strings.Contains(err.Error(), "missing nonce") {
		t.Errorf("without a nonce: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(lender.socket), "sluice-lent-*")); err != nil || len(left) > 0 {
		t.Errorf("left on disk: %v %v", left, err)
	}
	unasked, _ := lending(t, false)
	r.Loan = func(context.Context) (Loan, error) {
		t.Error("credentials were taken out for a plugin that does not want them")
		return Loan{}, nil
	}
	if got, err := unasked.Generate(t.Context(), "p", r); err != nil || !strings.Contains(got[0], `"nonce":""`) {
		t.Errorf("%s, %v", got, err)
	}
}

// condition is HealthCheckResponse.
type condition struct{ status uint64 }

func (*condition) marshal() []byte { return nil }

func (c *condition) unmarshal(raw []byte) error {
	return each(raw, func(_ protowire.Number, _ []byte, v uint64) error {
		c.status = v
		return nil
	})
}

// TestStandardServices: probes and tools find health, version and a
// description of the service.
func TestStandardServices(t *testing.T) {
	dir := t.TempDir()
	sidecar(t, dir, header+"metadata: {name: p}\nspec: {generate: {command: ['true']}}\n")
	s := connectTo(filepath.Join(dir, "p.sock"))
	defer s.close()
	health := client[texts, condition](s, "/grpc.health.v1.Health/Check")
	for _, name := range []string{"", pluginService} {
		answer, err := health.CallUnary(t.Context(), connect.NewRequest(&texts{first: name}))
		if err != nil || answer.Msg.status != 1 { // SERVING
			t.Errorf("health of %q: %v, %v", name, answer, err)
		}
	}
	if _, err := health.CallUnary(t.Context(), connect.NewRequest(&texts{first: "other"})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("health of what is not there: %v", err)
	}
	answer, err := client[empty, texts](s, methodVersion).CallUnary(t.Context(), connect.NewRequest(&empty{}))
	if err != nil || answer.Msg.first != "v1.2.3" {
		t.Errorf("version: %v, %v", answer, err)
	}
	stream := grpcreflect.NewClient(s.http, "http://plugin", connect.WithGRPC()).NewStream(t.Context(), grpcreflect.WithReflectionHost("plugin"))
	defer func() { _, _ = stream.Close() }()
	names, err := stream.ListServices()
	if err != nil || len(names) != 3 {
		t.Errorf("services: %v, %v", names, err)
	}
	for _, name := range []protoreflect.FullName{pluginService, versionService} {
		files, err := stream.FileContainingSymbol(name)
		if err != nil || len(files) == 0 {
			t.Errorf("description of %s: %v, %v", name, files, err)
		}
	}
	response, err := s.http.Get("http://plugin/other")
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("another path: %d, %v", response.StatusCode, err)
	}
}
