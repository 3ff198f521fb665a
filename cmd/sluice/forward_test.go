package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"      //nolint:staticcheck // client-go takes no other yet
	"k8s.io/apimachinery/pkg/util/httpstream/spdy" //nolint:staticcheck // client-go takes no other yet
	portconstants "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/tools/portforward"

	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/test/rig"
)

// kubelet is Kubernetes at the wire: it lists pods and forwards a port of each
// to a server of this process, as no kubelet runs here.
type kubelet struct {
	pods []corev1.Pod
	// to is where port 8080 of a pod leads.
	to string
	// sockets says that it takes web sockets, as Kubernetes does since 1.31.
	sockets bool
	// asked is the path that was forwarded, upgraded how.
	asked, upgraded atomic.Value
}

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/portforward") {
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
		for _, p := range k.pods {
			if r.URL.Query().Get("labelSelector") == "app.kubernetes.io/name="+p.Labels["app.kubernetes.io/name"] && strings.Contains(r.URL.Path, "/namespaces/"+p.Namespace+"/") {
				list.Items = append(list.Items, p)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list) // the client says what it lacks
		return
	}
	k.asked.Store(r.URL.Path)
	streams := make(chan httpstream.Stream, 8)
	took := func(s httpstream.Stream, _ <-chan struct{}) error { streams <- s; return nil }
	var conn httpstream.Connection
	switch {
	case websocket.IsWebSocketUpgrade(r) && k.sockets:
		k.upgraded.Store("web socket")
		socket, err := (&websocket.Upgrader{Subprotocols: []string{portconstants.WebsocketsSPDYTunnelingPortForwardV1}}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		if conn, err = spdy.NewServerConnection(portforward.NewTunnelingConnection("server", socket), took); err != nil {
			return
		}
	case websocket.IsWebSocketUpgrade(r):
		http.Error(w, "no web sockets here", http.StatusBadRequest)
		return
	default:
		k.upgraded.Store("SPDY")
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			return
		}
		if conn = spdy.NewResponseUpgrader().UpgradeResponse(w, r, took); conn == nil {
			return
		}
	}
	defer conn.Close()
	for {
		select {
		case <-conn.CloseChan():
			return
		case s := <-streams:
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				_ = s.Close() // nothing is wrong
				continue
			}
			go k.pipe(s)
		}
	}
}

// pipe joins a stream with the server behind the port.
func (k *kubelet) pipe(s httpstream.Stream) {
	defer s.Close()
	if s.Headers().Get(corev1.PortHeader) != "8080" {
		_ = s.Reset()
		return
	}
	back, err := net.Dial("tcp", k.to)
	if err != nil {
		_ = s.Reset()
		return
	}
	defer back.Close()
	go func() { _, _ = io.Copy(back, s) }()
	_, _ = io.Copy(s, back)
}

func pod(namespace, name, label string, phase corev1.PodPhase) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app.kubernetes.io/name": label}}, Status: corev1.PodStatus{Phase: phase}}
}

// kubeconfigOf writes a kubeconfig for a test server.
func kubeconfigOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	c := api.NewConfig()
	c.Clusters["x"] = &api.Cluster{Server: s.URL, InsecureSkipTLSVerify: true}
	c.AuthInfos["x"] = &api.AuthInfo{Token: "t"}
	c.Contexts["x"] = &api.Context{Cluster: "x", AuthInfo: "x"}
	c.CurrentContext = "x"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPortForward reaches a server through Kubernetes with the real client of
// Kubernetes: with web sockets and without, with TLS behind the port and without.
func TestPortForward(t *testing.T) {
	t.Parallel()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the server") })
	for name, c := range map[string]struct {
		sockets, tls bool
		flags        connect.Flags
		pod, how     string
	}{
		"web socket":          {true, false, connect.Flags{ServerName: "argocd-server"}, "argocd/pods/server-1", "web socket"},
		"web socket and TLS":  {true, true, connect.Flags{ServerName: "argocd-server"}, "argocd/pods/server-1", "web socket"},
		"SPDY":                {false, false, connect.Flags{ServerName: "argocd-server"}, "argocd/pods/server-1", "SPDY"},
		"SPDY and TLS":        {false, true, connect.Flags{ServerName: "other"}, "argocd/pods/other-1", "SPDY"},
		"namespace of a flag": {true, false, connect.Flags{ServerName: "argocd-server", PortForwardNamespace: "cd"}, "cd/pods/server-2", "web socket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behind := httptest.NewUnstartedServer(answer)
			if c.tls {
				behind.StartTLS()
			} else {
				behind.Start()
			}
			t.Cleanup(behind.Close)
			k := &kubelet{to: behind.Listener.Addr().String(), sockets: c.sockets, pods: []corev1.Pod{
				pod("argocd", "server-0", "argocd-server", corev1.PodPending), pod("argocd", "server-1", "argocd-server", corev1.PodRunning),
				pod("argocd", "other-1", "other", corev1.PodRunning), pod("cd", "server-2", "argocd-server", corev1.PodRunning),
			}}
			kube := httptest.NewTLSServer(k)
			t.Cleanup(kube.Close)
			flags := c.flags
			flags.Kube.Path = kubeconfigOf(t, kube)
			tunnel, err := portForward(t.Context(), &flags)
			if err != nil {
				t.Fatal(err)
			}
			if tunnel.TLS != c.tls {
				t.Errorf("TLS %v, want %v", tunnel.TLS, c.tls)
			}
			scheme := "http://"
			if c.tls {
				scheme = "https://"
			}
			for range 2 { // two connections over one forward
				client := behind.Client()
				client.CloseIdleConnections()
				got, err := client.Get(scheme + tunnel.Address)
				if err != nil {
					t.Fatal(err)
				}
				raw, err := io.ReadAll(got.Body)
				_ = got.Body.Close()
				if err != nil || string(raw) != "the server" {
					t.Errorf("answer %q, %v", raw, err)
				}
			}
			if asked, _ := k.asked.Load().(string); !strings.HasSuffix(asked, c.pod+"/portforward") || k.upgraded.Load() != c.how {
				t.Errorf("forwarded %s by %v", asked, k.upgraded.Load())
			}
			tunnel.Close()
			if err := closed(t.Context(), tunnel.Address); err != nil {
				t.Error(err)
			}
		})
	}
}

// closed waits until nobody listens at an address.
func closed(ctx context.Context, address string) error {
	return rig.Until(ctx, 10*time.Second, "nobody listens at "+address, func(ctx context.Context) (bool, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return true, nil
		}
		return false, c.Close()
	})
}

// TestPortForwardRefused says what to do.
func TestPortForwardRefused(t *testing.T) {
	t.Parallel()
	kube := httptest.NewTLSServer(&kubelet{pods: []corev1.Pod{pod("argocd", "server-0", "argocd-server", corev1.PodPending)}})
	t.Cleanup(kube.Close)
	_, err := portForward(t.Context(), &connect.Flags{ServerName: "argocd-server", Kube: connect.Kube{Path: kubeconfigOf(t, kube)}})
	if err == nil || !strings.Contains(err.Error(), "namespace argocd has no running pod with label app.kubernetes.io/name=argocd-server: use --port-forward-namespace") {
		t.Errorf("no running pod: %v", err)
	}
	if _, err := portForward(t.Context(), &connect.Flags{Kube: connect.Kube{Path: filepath.Join(t.TempDir(), "absent")}}); err == nil || !strings.Contains(err.Error(), "no Kubernetes") {
		t.Errorf("no kubeconfig: %v", err)
	}
	refusing := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/portforward") {
			http.Error(w, `pods "server-1" is forbidden`, http.StatusForbidden)
			return
		}
		(&kubelet{pods: []corev1.Pod{pod("argocd", "server-1", "argocd-server", corev1.PodRunning)}}).ServeHTTP(w, r)
	}))
	t.Cleanup(refusing.Close)
	_, err = portForward(t.Context(), &connect.Flags{ServerName: "argocd-server", Kube: connect.Kube{Path: kubeconfigOf(t, refusing)}})
	if err == nil || !strings.Contains(err.Error(), "--port-forward to server-1") || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("forbidden: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := portForward(ended, &connect.Flags{ServerName: "argocd-server", Kube: connect.Kube{Path: kubeconfigOf(t, kube)}}); err == nil {
		t.Error("an ended context")
	}
}

// TestCoreFolder keeps mirrors for the next command, and never shares them with
// another one that runs.
func TestCoreFolder(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	caches := func() (string, error) { return base, nil }
	first, release, err := coreFolder("https://hub", "argocd", caches)
	if err != nil || !strings.HasPrefix(first, base) {
		t.Fatalf("%s, %v", first, err)
	}
	second, gone, err := coreFolder("https://hub", "argocd", caches)
	if err != nil || strings.HasPrefix(second, base) {
		t.Fatalf("beside another command: %s, %v", second, err)
	}
	other, done, err := coreFolder("https://hub", "cd", caches)
	if err != nil || other == first {
		t.Fatalf("another control plane: %s, %v", other, err)
	}
	done()
	gone()
	if _, err := os.Stat(second); !os.IsNotExist(err) {
		t.Errorf("%s stays: %v", second, err)
	}
	release()
	again, release, err := coreFolder("https://hub", "argocd", caches)
	if err != nil || again != first {
		t.Fatalf("the next command: %s, %v", again, err)
	}
	release()
	if homeless, done, err := coreFolder("https://hub", "argocd", func() (string, error) { return "", os.ErrNotExist }); err != nil || homeless == "" {
		t.Errorf("without a home: %v", err)
	} else {
		done()
	}
}
