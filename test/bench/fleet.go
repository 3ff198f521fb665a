package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/test/rig"
)

// measureFleet starts the payment fleet and measures the machine by it.
func measureFleet(ctx context.Context, _ size) (figures []Figure, err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, err := rig.Start(ctx, rig.Options{Bin: filepath.Dir(self), Dir: dir, Clusters: rig.PaymentClusters, Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Stop(context.WithoutCancel(ctx))) }()
	figures = append(figures, figure("fleet.ready_s", "s", r.Fleet.ReadySeconds, 15), figure("fleet.mib_per_cluster", "MiB", r.Fleet.MiB, 600))
	floor, err := roundTrip(ctx, r)
	if err != nil {
		return nil, err
	}
	return append(figures, figure("floor.api_write_ms", "ms", floor, 0)), nil
}

// roundTrip is the median time of one small write to the hub.
func roundTrip(ctx context.Context, r *rig.Rig) (float64, error) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bench-floor", Namespace: rig.Namespace}}
	if err := r.Hub.Create(ctx, cm); err != nil {
		return 0, err
	}
	var all []float64
	for i := range 50 {
		next := cm.DeepCopy()
		next.Data = map[string]string{"n": fmt.Sprint(i)}
		begin := time.Now()
		if err := r.Hub.Patch(ctx, next, client.MergeFrom(cm)); err != nil {
			return 0, err
		}
		all = append(all, float64(time.Since(begin).Microseconds())/1000)
		cm = next
	}
	return median(all), nil
}
