package component

import (
	"context"
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/kwok/pkg/client/clientset/versioned"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	kwokclient "sigs.k8s.io/kwok/pkg/utils/client"

	"github.com/sluice-cd/sluice/fleet/internal/stage"
)

// kwok plays the kubelets and the providers of a cluster. args: kubeconfig,
// then stage files of the caller.
func kwok(ctx context.Context, args []string) error {
	if len(args) < 1 {
		return fmt.Errorf("kwok: want a kubeconfig")
	}
	stages, err := stage.Load(args[1:])
	if err != nil {
		return err
	}
	cfg, err := kwokConfig(args[0])
	if err != nil {
		return fmt.Errorf("kwok: %w", err)
	}
	cfg.LocalStages = stages
	c, err := controllers.NewController(cfg)
	if err != nil {
		return fmt.Errorf("kwok: %w", err)
	}
	if err := c.Start(ctx); err != nil {
		return fmt.Errorf("kwok: %w", err)
	}
	<-ctx.Done()
	return nil
}

// kwokConfig connects kwok; its clients have no rate limit of their own.
func kwokConfig(kubeconfig string) (controllers.Config, error) {
	var none controllers.Config
	set, err := kwokclient.NewClientset("", kubeconfig)
	if err != nil {
		return none, err
	}
	rc, err := set.ToRESTConfig()
	if err != nil {
		return none, err
	}
	dynamicClient, err := set.ToDynamicClient()
	if err != nil {
		return none, err
	}
	mapper, err := set.ToRESTMapper()
	if err != nil {
		return none, err
	}
	restClient, err := rest.RESTClientFor(rc)
	if err != nil {
		return none, err
	}
	typed, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return none, err
	}
	own, err := versioned.NewForConfig(rc)
	if err != nil {
		return none, err
	}
	return controllers.Config{
		Clock: clock.RealClock{}, DynamicClient: dynamicClient, RESTClient: restClient, RESTMapper: mapper,
		ImpersonatingDynamicClient: set.ToImpersonatingDynamicClient(),
		ImpersonatingTypedClient:   set.ToImpersonatingTypedClient(),
		TypedClient:                typed, TypedKwokClient: own, ManageAllNodes: true,
		CIDR: "10.244.0.0/16", NodeIP: "10.0.0.1", NodePort: 10250, ID: "fleet",
		PodPlayStageParallelism: 16, NodePlayStageParallelism: 2, PodsOnNodeSyncParallelism: 4,
	}, nil
}
