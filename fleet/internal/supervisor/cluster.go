package supervisor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-cd/sluice/fleet/internal/component"
	"github.com/sluice-cd/sluice/fleet/internal/credential"
	"github.com/sluice-cd/sluice/fleet/internal/faultproxy"
)

// cluster is one control plane and its processes.
type cluster struct {
	spec    ClusterSpec
	index   int
	dir     string
	address string // host:port of the API server
	proxy   *faultproxy.Proxy
	fleet   *Supervisor

	mu       sync.Mutex
	children map[string]*child
	state    string
	fault    string
	version  string
}

// auditPolicy records writes with their bodies and nothing that is noise.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  resources:
  - {group: coordination.k8s.io, resources: [leases]}
  - {group: "", resources: [events]}
  - {group: events.k8s.io}
  - {group: authentication.k8s.io}
  - {group: authorization.k8s.io}
- level: None
  verbs: [get, list, watch]
  userGroups: [system:masters]
  users: [system:apiserver]
- level: Request
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
`

// Ports of servers are taken from below those that Linux gives to outgoing
// connections (32768 and more): one of these could take a port between the
// moment it is found free and the moment the server listens.
const (
	firstPort = 20_000
	ports     = 12_000
	portTries = 100
)

// freeAddress is a free port of loopback.
func freeAddress() (string, error) {
	var problem error
	for range portTries {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
		problem = err
	}
	return "", fmt.Errorf("no free port on loopback: %w", problem)
}

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

// prepare writes keys, policies and kubeconfigs.
func (c *cluster) prepare(ca *credential.Authority, server credential.Pair, now time.Time) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("folder of cluster %s: %w", c.spec.Name, err)
	}
	admin, err := ca.Client("fleet-admin", "system:masters", now, now.Add(20*24*time.Hour))
	if err != nil {
		return err
	}
	system, err := ca.Client("fleet-system", "system:masters", now, now.Add(20*24*time.Hour))
	if err != nil {
		return err
	}
	if err := server.Write(c.dir, "server"); err != nil {
		return err
	}
	private, public, err := credential.SigningKey()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"sa.key": private, "sa.pub": public, "audit-policy.yaml": []byte(auditPolicy),
		"kubeconfig":        Kubeconfig(c.spec.Name, "https://"+c.address, ca.PEM, admin),
		"kubeconfig-proxy":  Kubeconfig(c.spec.Name, "https://"+c.proxy.Address(), ca.PEM, admin),
		"kubeconfig-system": Kubeconfig(c.spec.Name, "https://"+c.address, ca.PEM, system),
	}
	for name, content := range files {
		if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func (c *cluster) apiServerArgs() []string {
	_, port, _ := net.SplitHostPort(c.address)
	f := c.fleet
	args := []string{
		"--etcd-servers=" + f.etcdURL, "--etcd-prefix=/" + c.spec.Name,
		"--etcd-cafile=" + f.path("ca.crt"), "--etcd-certfile=" + f.path("etcd.crt"), "--etcd-keyfile=" + f.path("etcd.key"),
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + port,
		"--tls-cert-file=" + c.path("server.crt"), "--tls-private-key-file=" + c.path("server.key"),
		"--client-ca-file=" + f.path("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("sa.pub"), "--service-account-signing-key-file=" + c.path("sa.key"),
		fmt.Sprintf("--service-cluster-ip-range=10.%d.0.0/16", 96+c.index%100),
		"--authorization-mode=RBAC", "--allow-privileged=true", "--profiling=false",
		"--endpoint-reconciler-type=none", "--event-ttl=10m",
		"--audit-policy-file=" + c.path("audit-policy.yaml"), "--audit-log-path=" + c.path("audit.log"),
		"--audit-log-mode=blocking", "--audit-log-maxsize=2000",
		"--disable-admission-plugins=DefaultIngressClass,RuntimeClass,PodSecurity,TaintNodesByCondition",
		"--shutdown-delay-duration=0s",
	}
	if n := c.spec.Inflight; n > 0 {
		args = append(args, fmt.Sprintf("--max-requests-inflight=%d", n), fmt.Sprintf("--max-mutating-requests-inflight=%d", n))
	}
	return args
}

func (c *cluster) start(name string, args []string) error {
	child, err := c.fleet.spawn.start(c.path(name+".log"), name, args)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.children[name] = child
	return nil
}

// up starts the API server, waits for it, and starts the rest.
func (c *cluster) up(ctx context.Context) error {
	if err := c.start(component.APIServer, c.apiServerArgs()); err != nil {
		return err
	}
	client, err := clientFor(c.path("kubeconfig-system"))
	if err != nil {
		return err
	}
	if err := c.await(ctx, "API server", component.APIServer, func() bool { return answers(ctx, client) }); err != nil {
		return err
	}
	if v, err := client.Discovery().ServerVersion(); err == nil {
		c.version = v.GitVersion
	}
	if err := c.startRest(); err != nil {
		return err
	}
	if err := createNodes(ctx, client, c.fleet.options.Nodes); err != nil {
		return fmt.Errorf("cluster %s: %w", c.spec.Name, err)
	}
	if err := c.await(ctx, "nodes and default service account", component.APIServer, func() bool {
		return populated(ctx, client, c.fleet.options.Nodes)
	}); err != nil {
		return err
	}
	c.setState("ready")
	return nil
}

func (c *cluster) startRest() error {
	system := c.path("kubeconfig-system")
	pace := []string{"--kubeconfig=" + system, "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000", "--secure-port=0", "--profiling=false"}
	controllerArgs := append([]string{
		"--controllers=" + controllerNames, "--service-account-private-key-file=" + c.path("sa.key"),
		"--root-ca-file=" + c.fleet.path("ca.crt"), "--use-service-account-credentials=false",
	}, pace...)
	if err := c.start(component.Controller, controllerArgs); err != nil {
		return err
	}
	if err := c.start(component.Kubelet, append([]string{system}, c.fleet.options.Stages...)); err != nil {
		return err
	}
	return c.start(component.Scheduler, pace)
}

const controllerNames = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller," +
	"job-controller,cronjob-controller,namespace-controller,serviceaccount-controller,serviceaccount-token-controller," +
	"garbage-collector-controller,endpointslice-controller,disruption-controller,root-ca-certificate-publisher-controller," +
	"ttl-after-finished-controller,clusterrole-aggregation-controller,resourcequota-controller"

// await polls until ok, the component dies or ctx ends.
func (c *cluster) await(ctx context.Context, what, name string, ok func() bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok() {
			return nil
		}
		c.mu.Lock()
		child := c.children[name]
		c.mu.Unlock()
		if !child.alive() {
			return fmt.Errorf("cluster %s: %s ended: see %s", c.spec.Name, name, c.path(name+".log"))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cluster %s: %s not ready: %w: see the logs in %s", c.spec.Name, what, ctx.Err(), c.dir)
		case <-tick.C:
		}
	}
}

func (c *cluster) setState(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

// pause freezes all processes; resume lets them go on.
func (c *cluster) pause(freeze bool) {
	sig, state := syscall.SIGCONT, "ready"
	if freeze {
		sig, state = syscall.SIGSTOP, "paused"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, child := range c.children {
		child.signal(sig)
	}
	c.state = state
}

// stop kills the API server; its data and port remain.
func (c *cluster) stop() {
	c.mu.Lock()
	child := c.children[component.APIServer]
	c.state = "stopped"
	c.mu.Unlock()
	child.kill()
}

// restart starts a stopped API server again, with its data and on its port.
func (c *cluster) restart(ctx context.Context) error {
	if err := c.start(component.APIServer, c.apiServerArgs()); err != nil {
		return err
	}
	client, err := clientFor(c.path("kubeconfig-system"))
	if err != nil {
		return err
	}
	if err := c.await(ctx, "API server", component.APIServer, func() bool { return answers(ctx, client) }); err != nil {
		return err
	}
	c.setState("ready")
	for _, name := range []string{component.Controller, component.Scheduler, component.Kubelet} {
		c.mu.Lock()
		alive := c.children[name].alive()
		c.mu.Unlock()
		if !alive {
			return c.startRest()
		}
	}
	return nil
}

func (c *cluster) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, child := range c.children {
		child.kill()
	}
	c.proxy.Close()
}

func (c *cluster) snapshot() ClusterState {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ClusterState{
		ClusterSpec: c.spec, State: c.state, Server: "https://" + c.address, Proxy: "https://" + c.proxy.Address(),
		Kubeconfig: c.path("kubeconfig"), ProxyKubeconfig: c.path("kubeconfig-proxy"),
		AuditLog: c.path("audit.log"), Version: c.version, PIDs: map[string]int{}, Fault: c.fault,
	}
	for name, child := range c.children {
		s.PIDs[name] = child.pid()
		s.MiB += residentMiB(child.pid())
	}
	return s
}
