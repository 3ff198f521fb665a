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
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/sluice-cd/sluice/internal/cli/connect"
)

// forwardTime bounds the start of a port-forward.
const forwardTime = 30 * time.Second

// serverPort is the port of the API in its pods.
const serverPort = 8080

// portForward reaches a server through Kubernetes: a port of this machine is
// joined with that of a pod (spec/cli.md §1.2).
func portForward(ctx context.Context, f *connect.Flags) (*connect.Tunnel, error) {
	cfg, namespace, err := kubeconfig(f.KubeContext)
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
	round, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("--port-forward: %w", err)
	}
	target := kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(name).SubResource("portforward").URL()
	return join(ctx, spdy.NewDialer(upgrader, &http.Client{Transport: round}, http.MethodPost, target), target)
}

// join starts the forward and finds out whether the pod speaks TLS.
func join(ctx context.Context, dialer httpstream.Dialer, target *url.URL) (*connect.Tunnel, error) {
	stop, ready, failed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", serverPort)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("--port-forward to %s: %w", target.Path, err)
	}
	go func() { failed <- forwarder.ForwardPorts() }()
	timer := time.NewTimer(forwardTime)
	defer timer.Stop()
	select {
	case <-ready:
	case err := <-failed:
		return nil, fmt.Errorf("--port-forward to %s: %w", target.Path, err)
	case <-timer.C:
		close(stop)
		return nil, fmt.Errorf("--port-forward to %s does not come about within %s", target.Path, forwardTime)
	case <-ctx.Done():
		close(stop)
		return nil, ctx.Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil || len(ports) != 1 {
		close(stop)
		return nil, fmt.Errorf("--port-forward to %s: no port: %w", target.Path, err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0].Local)
	return &connect.Tunnel{Address: address, TLS: speaksTLS(ctx, address), Close: func() { close(stop) }}, nil
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
