package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Leases that elect the process that works: of everything or ApplicationSets,
// and of Applications alone.
const (
	leaseName     = "58ac56fa.applicationsets.argoproj.io"
	appsLeaseName = "argocd-application-controller"
)

// claim locks the data folder and names this process after it: a process that
// is restarted on the same folder takes its Lease back at once, while the lock
// keeps two processes from sharing a name.
func claim(dir string) (identity string, unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("--data-dir: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("--data-dir: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return "", nil, fmt.Errorf("--data-dir=%s is used by another sluice process: give this one a folder of its own", dir)
	}
	host, err := os.Hostname()
	if err != nil {
		return "", nil, fmt.Errorf("host name: %w", err)
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, fmt.Errorf("--data-dir: %w", err)
	}
	return host + ":" + path, func() { _ = file.Close() }, nil
}

// leaseLock is the Lease under this process's name.
func leaseLock(cfg *rest.Config, lease types.NamespacedName, identity string) (resourcelock.Interface, error) {
	client, err := coordination.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: lease.Namespace, Name: lease.Name},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}, nil
}
