package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // client-go takes no other yet
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	streaming "k8s.io/streaming/pkg/httpstream" // whose errors web sockets give

	"github.com/sluice-cd/sluice/internal/cli/connect"
)

// forwardTime bounds the start of a port-forward.
const forwardTime = 30 * time.Second

// serverPort is the port of the API in its pods.
const serverPort = 8080

// portForward reaches a server through Kubernetes: a port of this machine is
// joined with that of a pod (spec/cli.md §1.2).
func portForward(ctx context.Context, f *connect.Flags) (*connect.Tunnel, error) {
	cfg, namespace, err := kubeconfig(f)
	if err != nil {
		return nil, err
	}
	if f.PortForwardNamespace != "" {
		namespace = f.PortForwardNamespace
	}
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("--port-forward: %w", err)
	}
	pods, err := kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + f.ServerName})
	if err != nil {
		return nil, fmt.Errorf("--port-forward: %w", err)
	}
	name := ""
	for i := range pods.Items {
		if p := &pods.Items[i]; p.Status.Phase == corev1.PodRunning {
			name = p.Name
			break
		}
	}
	if name == "" {
		return nil, fmt.Errorf("--port-forward: namespace %s has no running pod with label app.kubernetes.io/name=%s: use --port-forward-namespace or --server-name", namespace, f.ServerName)
	}
	target := kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(name).SubResource("portforward").URL()
	dialer, err := dialerTo(cfg, target)
	if err != nil {
		return nil, fmt.Errorf("--port-forward: %w", err)
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", serverPort)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("--port-forward to %s: %w", name, err)
	}
	return join(ctx, joint{forwarder: forwarder, pod: name, stop: stop, ready: ready})
}

// dialerTo opens streams to a pod as kubectl does: within a web socket, which
// proxies pass, or without one where Kubernetes, or a proxy, wants none.
func dialerTo(cfg *rest.Config, target *url.URL) (httpstream.Dialer, error) {
	round, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		return nil, err
	}
	socket, err := portforward.NewSPDYOverWebsocketDialer(target, cfg)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialer(socket, spdy.NewDialer(upgrader, &http.Client{Transport: round}, http.MethodPost, target), func(err error) bool {
		return streaming.IsUpgradeFailure(err) || streaming.IsHTTPSProxyError(err)
	}), nil
}

// joint is a port-forward that has not begun.
type joint struct {
	forwarder   *portforward.PortForwarder
	pod         string
	stop, ready chan struct{}
}

// join starts the forward and finds out whether the pod speaks TLS.
func join(ctx context.Context, j joint) (*connect.Tunnel, error) {
	failed := make(chan error, 1)
	go func() { failed <- j.forwarder.ForwardPorts() }()
	timer := time.NewTimer(forwardTime)
	defer timer.Stop()
	select {
	case <-j.ready:
	case err := <-failed:
		return nil, fmt.Errorf("--port-forward to %s: %w", j.pod, err)
	case <-timer.C:
		close(j.stop)
		return nil, fmt.Errorf("--port-forward to %s does not come about within %s", j.pod, forwardTime)
	case <-ctx.Done():
		close(j.stop)
		return nil, ctx.Err()
	}
	ports, err := j.forwarder.GetPorts()
	if err != nil || len(ports) != 1 {
		close(j.stop)
		return nil, fmt.Errorf("--port-forward to %s: no port: %w", j.pod, err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0].Local)
	return &connect.Tunnel{Address: address, TLS: speaksTLS(ctx, address), Close: func() { close(j.stop) }}, nil
}

// speaksTLS says whether a server of unknown kind speaks TLS.
func speaksTLS(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, forwardTime)
	defer cancel()
	d := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // nothing is sent: it is only looked whether it is TLS
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = c.Close() // nothing was written
	return true
}
