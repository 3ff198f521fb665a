package plugin

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
)

// DefaultAskPass is the socket over which git in a sidecar asks for a password;
// the folder has to be shared with the sidecar (spec/wire.md §4.9).
const DefaultAskPass = "/tmp/reposerver-ask-pass.sock"

// Names of environment variables by which git in a sidecar finds the lender.
const (
	AskPassSocket = "ARGOCD_ASK_PASS_SOCK"
	AskPassNonce  = "ARGOCD_GIT_ASKPASS_NONCE" //nolint:gosec // a name
	BinaryName    = "ARGOCD_BINARY_NAME"
	AskPassBinary = "argocd-git-ask-pass"
)

const methodCredentials = "/askpass.AskPassService/GetCredentials"

// Loan is what a plugin is lent of the credentials of a repository.
type Loan struct {
	Username, Password, BearerToken    string
	SSHPrivateKey, KnownHosts          string
	ClientCertificate, ClientKey       string
	SSH, Insecure, ForceBasic, Present bool
}

// Lender lends credentials to plugins for the time of one call. It listens
// from the first loan on, until Close. It is safe for concurrent use.
type Lender struct {
	socket string
	random io.Reader

	mu     sync.Mutex
	server *http.Server
	loans  map[string]Loan
}

// NewLender makes a Lender for a socket, DefaultAskPass when it is empty.
func NewLender(socket string, random io.Reader) *Lender {
	if socket == "" {
		socket = DefaultAskPass
	}
	return &Lender{socket: socket, random: random, loans: map[string]Loan{}}
}

// Close ends all loans.
func (l *Lender) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.loans)
	if l.server != nil {
		_ = l.server.Close()
		l.server = nil
	}
}

// lend gives the variables with which git in the sidecar gets the credentials,
// until they are given back.
func (l *Lender) lend(loan Loan) (env []EnvVar, giveBack func(), err error) {
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(l.random, nonce); err != nil {
		return nil, nil, fmt.Errorf("lend credentials to a plugin: %w", err)
	}
	id := hex.EncodeToString(nonce)
	dir := filepath.Join(filepath.Dir(l.socket), "sluice-lent-"+id)
	giveBack = func() {
		l.mu.Lock()
		delete(l.loans, id)
		l.mu.Unlock()
		_ = os.RemoveAll(dir) // private files of this loan
	}
	files, err := loan.files(dir)
	if err == nil {
		err = l.listen()
	}
	if err != nil {
		giveBack()
		return nil, nil, fmt.Errorf("lend credentials to a plugin: %w", err)
	}
	l.mu.Lock()
	l.loans[id] = loan
	l.mu.Unlock()
	return loan.environment(id, l.socket, files), giveBack, nil
}

// files writes what git and ssh read from files.
func (l Loan) files(dir string) (map[string]string, error) {
	out := map[string]string{}
	for name, content := range map[string]string{"id": l.SSHPrivateKey, "known_hosts": l.KnownHosts, "client.crt": l.ClientCertificate, "client.key": l.ClientKey} {
		if content == "" || name == "known_hosts" && !l.SSH {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		out[name] = filepath.Join(dir, name)
		if err := os.WriteFile(out[name], []byte(strings.TrimRight(content, "\n")+"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// environment are the variables of a loan (spec/wire.md §4.9).
func (l Loan) environment(nonce, socket string, files map[string]string) []EnvVar {
	out := []EnvVar{{"GIT_TERMINAL_PROMPT", "0"}}
	add := func(name, value string) { out = append(out, EnvVar{name, value}) }
	if l.SSH {
		add("GIT_SSH_COMMAND", l.ssh(files))
		return out
	}
	add("GIT_ASKPASS", "argocd")
	add(BinaryName, AskPassBinary)
	add(AskPassNonce, nonce)
	add(AskPassSocket, socket)
	if l.Insecure {
		add("GIT_SSL_NO_VERIFY", "true")
	}
	if files["client.crt"] != "" {
		add("GIT_SSL_CERT", files["client.crt"])
		add("GIT_SSL_KEY", files["client.key"])
	}
	switch {
	case l.BearerToken != "":
		add("ARGOCD_GIT_BEARER_AUTH_HEADER", "Authorization: Bearer "+l.BearerToken)
	case l.ForceBasic:
		add("ARGOCD_GIT_AUTH_HEADER", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(l.user()+":"+l.Password)))
	}
	return out
}

// user is the name that git gives; any will do beside a token.
func (l Loan) user() string {
	if l.Username == "" {
		return "x-access-token"
	}
	return l.Username
}

// ssh is the command of git, which a shell reads: file names have no quotes.
func (l Loan) ssh(files map[string]string) string {
	key, hosts, strict := files["id"], files["known_hosts"], "yes"
	if key == "" {
		key = "none"
	}
	if hosts == "" {
		hosts = "/dev/null"
	}
	if l.Insecure {
		hosts, strict = "/dev/null", "no"
	}
	return fmt.Sprintf("ssh -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityFile='%s' -o UserKnownHostsFile='%s' -o StrictHostKeyChecking=%s", key, hosts, strict)
}

// listen opens the socket unless it is open.
func (l *Lender) listen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server != nil {
		return nil
	}
	if err := os.Remove(l.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", l.socket) //nolint:noctx // opens a file
	if err != nil {
		return err
	}
	if err := os.Chmod(l.socket, 0o660); err != nil { //nolint:gosec // the sidecar has the same group
		return errors.Join(err, listener.Close())
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	mux := http.NewServeMux()
	mux.Handle(methodCredentials, connect.NewUnaryHandler(methodCredentials, func(_ context.Context, r *connect.Request[texts]) (*connect.Response[texts], error) {
		return l.credentials(r.Msg.first)
	}, connect.WithCodec(codec{}), connect.WithReadMaxBytes(4<<10)))
	server := &http.Server{Handler: mux, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	l.server = server
	go func() { _ = server.Serve(listener) }() // ends with Close
	return nil
}

func (l *Lender) credentials(nonce string) (*connect.Response[texts], error) {
	if nonce == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("missing nonce"))
	}
	l.mu.Lock()
	loan, known := l.loans[nonce]
	l.mu.Unlock()
	if !known {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("unknown nonce"))
	}
	return connect.NewResponse(&texts{loan.user(), loan.Password}), nil
}

// AskPass answers a prompt of git in a sidecar: "Username..." or "Password...".
func AskPass(ctx context.Context, socket, nonce, prompt string) (string, error) {
	if socket == "" {
		socket = DefaultAskPass
	}
	s := connectTo(socket)
	defer s.close()
	answer, err := client[texts, texts](s, methodCredentials).CallUnary(ctx, connect.NewRequest(&texts{first: nonce}))
	if err != nil {
		return "", fmt.Errorf("credentials for git: %w", status(err))
	}
	switch {
	case strings.HasPrefix(prompt, "Username"):
		return answer.Msg.first, nil
	case strings.HasPrefix(prompt, "Password"):
		return answer.Msg.second, nil
	}
	return "", fmt.Errorf("git asks %q: only Username and Password can be answered", prompt)
}

// texts is CredentialsRequest and CredentialsResponse: up to two texts.
type texts struct{ first, second string }

func (m *texts) marshal() []byte { return putText(putText(nil, 1, m.first), 2, m.second) }

func (m *texts) unmarshal(raw []byte) error {
	return each(raw, func(n protowire.Number, b []byte, _ uint64) error {
		switch n {
		case 1:
			m.first = string(b)
		case 2:
			m.second = string(b)
		}
		return nil
	})
}
