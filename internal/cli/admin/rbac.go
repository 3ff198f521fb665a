package admin

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
)

// policies reads policies from a file, CSV or a ConfigMap, or from the hub.
func (v *verbs) policies(ctx context.Context, file string) (map[string]string, error) {
	if file != "" {
		raw, err := v.Dialer.Console.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var cm corev1.ConfigMap
		if yaml.Unmarshal(raw, &cm) == nil && cm.Kind == "ConfigMap" {
			return cm.Data, nil
		}
		return map[string]string{"policy.csv": string(raw)}, nil
	}
	h, err := v.connect()
	if err != nil {
		return nil, err
	}
	var cm corev1.ConfigMap
	err = h.client.Get(ctx, client.ObjectKey{Namespace: h.namespace, Name: rbac.ConfigMapName}, &cm)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("ConfigMap %s: %w", rbac.ConfigMapName, err)
	}
	return cm.Data, nil
}

func (v *verbs) can() *cobra.Command {
	var file, role string
	var builtin, strict, quiet bool
	c := &cobra.Command{Use: "can SUBJECT ACTION RESOURCE [SUB-RESOURCE]", Short: "Say whether policies let somebody do something", Args: command.Args(3, 4)}
	c.Flags().StringVar(&file, "policy-file", "", "file with policies, CSV or a ConfigMap; default: those of the hub")
	c.Flags().StringVar(&role, "default-role", "", "role of everybody; default: policy.default of the ConfigMap")
	c.Flags().BoolVar(&builtin, "use-builtin-policy", true, "also the policies that are always there")
	c.Flags().BoolVar(&strict, "strict", true, "refuse resources and actions that do not exist")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "only the exit code")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		data, err := v.policies(cmd.Context(), file)
		if err != nil {
			return err
		}
		settings, err := rbac.ParseSettings(data, builtin)
		if err != nil {
			return fail.Fatal("%w", err)
		}
		q := rbac.Query{Subject: args[0], Action: args[1], Resource: args[2], DefaultRole: role, Strict: strict}
		if q.DefaultRole == "" {
			q.DefaultRole = settings.DefaultRole
		}
		if len(args) == 4 {
			q.SubObject = args[3]
		}
		allowed, err := rbac.Can(settings.Policy, q)
		if err != nil {
			return fail.Fatal("%w", err)
		}
		if !quiet {
			v.Dialer.Console.Printf("%s\n", map[bool]string{true: "Yes", false: "No"}[allowed])
		}
		if !allowed {
			return fail.Silent(fail.Failure)
		}
		return nil
	}
	return c
}

func (v *verbs) validate() *cobra.Command {
	var file string
	c := &cobra.Command{Use: "validate", Short: "Say whether policies can be used", Args: command.Args(0, 0)}
	c.Flags().StringVar(&file, "policy-file", "", "file with policies, CSV or a ConfigMap; default: those of the hub")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		data, err := v.policies(cmd.Context(), file)
		if err != nil {
			return err
		}
		var fatal []string
		for _, f := range rbac.Validate(data) {
			if f.Fatal {
				fatal = append(fatal, f.Message)
				continue
			}
			v.Dialer.Console.Warnf("Warning: %s", f.Message)
		}
		if len(fatal) > 0 {
			v.Dialer.Console.Printf("Policy is invalid: %s\n", strings.Join(fatal, "; "))
			return fail.Silent(fail.Failure)
		}
		v.Dialer.Console.Printf("Policy is valid.\n")
		return nil
	}
	return c
}
