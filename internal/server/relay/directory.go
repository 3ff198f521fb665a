package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/clock"
)

// AnnotationAddress of a Lease holds host:port at which its holder answers
// servers.
const AnnotationAddress = "sluice.argoproj.io/internal-address"

// LeaseName is the Lease in which the working process of a role is found.
func LeaseName(role string) string { return "sluice-" + role }

// Leases is the directory of an installation: one Lease of the hub per role.
type Leases struct {
	Client    v1.LeasesGetter
	Namespace string
	Clock     clock.Clock
	Log       *slog.Logger
}

// errAbsent says that nobody has announced himself.
var errAbsent = errors.New("nobody has announced himself")

// Find gives the address of the process that works in a role.
func (l *Leases) Find(ctx context.Context, role string) (string, error) {
	lease, err := l.Client.Leases(l.Namespace).Get(ctx, LeaseName(role), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", errAbsent
	}
	if err != nil {
		return "", fmt.Errorf("read Lease %s/%s: %w", l.Namespace, LeaseName(role), err)
	}
	address := lease.Annotations[AnnotationAddress]
	if address == "" {
		return "", errAbsent
	}
	if err := CheckAddress(address); err != nil {
		return "", fmt.Errorf("Lease %s/%s, annotation %s: %w", l.Namespace, lease.Name, AnnotationAddress, err)
	}
	return address, nil
}

// maxHost is the length of the longest name of a host.
const maxHost = 253

// CheckAddress says what is wrong with an address that processes are called at.
func CheckAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.Atoi(port)
	if err != nil || bad != nil || host == "" || len(host) > maxHost || n < 1 || n > 65535 {
		return errors.New("want host:port")
	}
	return nil
}

// Holder is a process that announces itself.
type Holder struct{ Role, Identity, Address string }

// renewal is the pause after which a holder looks whether its entry stands.
const renewal = 30 * time.Second

// Announce keeps the address of a process in the Lease of its role until ctx
// ends, and then takes it away. It must run only in the process that works.
func (l *Leases) Announce(ctx context.Context, h Holder) error {
	pause := time.Second
	for {
		next := renewal
		if err := l.write(ctx, h); err != nil && ctx.Err() == nil {
			l.Log.Warn("cannot announce the address to servers", "lease", LeaseName(h.Role), "error", err.Error(), "retry", pause.String())
			next, pause = pause, min(2*pause, renewal)
		} else {
			pause = time.Second
		}
		timer := l.Clock.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			l.withdraw(context.WithoutCancel(ctx), h)
			return nil
		case <-timer.C():
		}
	}
}

// write makes the Lease say what it should.
func (l *Leases) write(ctx context.Context, h Holder) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	leases, now := l.Client.Leases(l.Namespace), metav1.NewMicroTime(l.Clock.Now())
	lease, err := leases.Get(ctx, LeaseName(h.Role), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Name: LeaseName(h.Role), Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"}, Annotations: map[string]string{AnnotationAddress: h.Address},
			},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &h.Identity, AcquireTime: &now, RenewTime: &now},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	if lease.Annotations[AnnotationAddress] == h.Address && held(lease, h.Identity) {
		return nil
	}
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	lease.Annotations[AnnotationAddress] = h.Address
	lease.Spec.HolderIdentity, lease.Spec.AcquireTime, lease.Spec.RenewTime = &h.Identity, &now, &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

func held(lease *coordinationv1.Lease, identity string) bool {
	return lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity == identity
}

// withdraw takes the address away unless another process has announced itself.
func (l *Leases) withdraw(ctx context.Context, h Holder) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	leases := l.Client.Leases(l.Namespace)
	lease, err := leases.Get(ctx, LeaseName(h.Role), metav1.GetOptions{})
	if err == nil && held(lease, h.Identity) && lease.Annotations[AnnotationAddress] == h.Address {
		delete(lease.Annotations, AnnotationAddress)
		lease.Spec.HolderIdentity = nil
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if err != nil { // servers find out when nobody answers
		l.Log.Info("the address stays announced", "lease", LeaseName(h.Role), "error", err.Error())
	}
}
