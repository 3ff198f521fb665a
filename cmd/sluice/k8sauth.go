package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/adapter/cloudauth"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
)

// authTimeout bounds the question for a token.
const authTimeout = 30 * time.Second

// k8sAuthCommand is the program argocd-k8s-auth that cluster Secrets name.
func k8sAuthCommand() *cobra.Command {
	c := &cobra.Command{Use: cluster.LoginCommand, Short: "Print a token for the Kubernetes of a cloud, as clients of Kubernetes want it", Args: cobra.NoArgs}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	e := cloudauth.EKS{}
	aws := authCommand("aws", "A token for EKS", func(ctx context.Context) (cloudauth.Token, error) { return cloudauth.AWS(ctx, e, time.Now()) })
	aws.Flags().StringVar(&e.Cluster, "cluster-name", "", "name of the cluster in EKS")
	aws.Flags().StringVar(&e.RoleARN, "role-arn", "", "role to take first")
	aws.Flags().StringVar(&e.Profile, "profile", "", "profile of the shared configuration files of AWS")
	c.AddCommand(aws, authCommand("gcp", "A token for GKE", cloudauth.GCP), authCommand("azure", "A token for AKS", func(ctx context.Context) (cloudauth.Token, error) {
		return cloudauth.Azure(ctx, os.LookupEnv, time.Now())
	}))
	return c
}

func authCommand(name, short string, get func(context.Context) (cloudauth.Token, error)) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), authTimeout)
		defer cancel()
		t, err := get(ctx)
		if err != nil {
			return err
		}
		out, err := cloudauth.Credential(t, os.Getenv("KUBERNETES_EXEC_INFO"))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(out))
		return err
	}
	return c
}
