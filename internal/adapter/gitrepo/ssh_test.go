package gitrepo_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// sshd starts a real server that accepts one key and gives back its port, the
// key and the line of known_hosts.
func sshd(t *testing.T, more ...string) (port, key, known string) {
	t.Helper()
	daemon, err := exec.LookPath("sshd")
	if err != nil {
		if daemon = "/usr/sbin/sshd"; !exists(daemon) {
			t.Fatal("no sshd here: install openssh-server")
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"host", "client"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	public := must(os.ReadFile(filepath.Join(dir, "client.pub")))(t)
	config := fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %s/host\nPidFile none\nStrictModes no\nUsePAM no\nAuthorizedKeysFile %s/client.pub\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n%s", port, dir, dir, strings.Join(more, "\n"))
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // where sshd wants it
			t.Fatal(err)
		}
	}
	cmd := exec.Command(daemon, "-D", "-e", "-f", filepath.Join(dir, "config"))
	stderr := must(cmd.StderrPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens, ended := make(chan struct{}), make(chan string)
	go func() { // reads until sshd ends
		var said strings.Builder
		lines := bufio.NewScanner(stderr)
		for heard := false; lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			if !heard && strings.Contains(lines.Text(), "Server listening") {
				heard = true
				close(listens)
			}
		}
		ended <- said.String()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		said := <-ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd said: %s(client key %s)", said, public)
		}
	})
	await(t, listens, "sshd")
	host := strings.Fields(string(must(os.ReadFile(filepath.Join(dir, "host.pub")))(t)))
	return port, string(must(os.ReadFile(filepath.Join(dir, "client")))(t)), fmt.Sprintf("[127.0.0.1]:%s %s %s\n", port, host[0], host[1])
}

// otherKey makes the public key of another host.
func otherKey(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "other")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	return file + ".pub"
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func TestReadsOverSSH(t *testing.T) {
	port, key, known := sshd(t)
	_, r := server(t, gitserver.Options{})
	must(r.Commit("first", gitserver.Files{"a": "over ssh"}))(t)
	// A folder with spaces and quotes, since git hands the command to a shell.
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), `it's "50%" $HOME`))
	if err := os.MkdirAll(os.TempDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	m := mirrors(t)
	user := strings.TrimSpace(string(must(exec.Command("id", "-un").Output())(t)))
	url := fmt.Sprintf("ssh://%s@127.0.0.1:%s%s", user, port, r.Dir())
	for name, with := range map[string]repo.Repository{
		"known host":    {URL: url, SSHPrivateKey: repo.Secret(key), KnownHosts: known},
		"any host":      {URL: url, SSHPrivateKey: repo.Secret(key), Insecure: true},
		"no final line": {URL: url, SSHPrivateKey: repo.Secret(strings.TrimSpace(key)), KnownHosts: known},
	} {
		if got := content(t, open(t, m, with, main), "a"); got != "over ssh" {
			t.Errorf("%s: %q", name, got)
		}
	}
	changed := strings.Replace(known, strings.Fields(known)[2], strings.Fields(string(must(os.ReadFile(otherKey(t)))(t)))[1], 1)
	for want, with := range map[string]repo.Repository{
		"argocd-ssh-known-hosts-cm":                     {URL: url, SSHPrivateKey: repo.Secret(key)},
		"check sshPrivateKey":                           {URL: url, KnownHosts: known},
		"check sshPrivateKey in the":                    {URL: url, SSHPrivateKey: "no key at all", KnownHosts: known},
		"key of the host to argocd-ssh-known-hosts-cm":  {URL: url, SSHPrivateKey: repo.Secret(key), KnownHosts: changed},
		"key of the host to argocd-ssh-known-hosts-cm ": {URL: url, SSHPrivateKey: repo.Secret(key), KnownHosts: "# nobody\n"},
	} {
		want = strings.TrimSpace(want)
		_, err := m.Resolve(t.Context(), with, main, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
