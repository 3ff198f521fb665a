package admin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/cli/admin/backup"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
	"github.com/sluice-cd/sluice/internal/domain/notice"
)

// noSecret stands for an empty Secret.
const noSecret = ":empty"

// printing is the service that prints (spec/observability.md §4.8).
const printing = "console"

// noticeTimeout bounds the conditions of a trigger, or the texts of a message.
const noticeTimeout = 10 * time.Second

// notify renders a template; nothing in this program delivers it but to the
// output.
func (v *verbs) notify(f *notificationFlags) *cobra.Command {
	var recipients []string
	c := &cobra.Command{
		Use: "notify NAME APP", Short: "Render a template for an Application, which is a name, a file of type yaml or json, or -", Args: command.Args(2, 2),
		Long: "Render a template for an Application and print the message as YAML. APP is a name, NAMESPACE/NAME, a file that ends with .yaml, .yml or .json, or - for the input.\n\n" +
			"Templates see what a controller would give them, apart from functions that ask a repository.",
	}
	c.Flags().StringSliceVar(&recipients, "recipient", []string{printing + ":stdout"}, "whom the message is for: SERVICE[:RECIPIENT]; only "+printing+":stdout is delivered to")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), noticeTimeout)
		defer cancel()
		config, subject, err := v.occasion(ctx, f, args[1])
		if err != nil {
			return err
		}
		t, ok := config.Templates[args[0]]
		if !ok {
			return v.undeclared(config, "template", args[0], slices.Collect(maps.Keys(config.Templates)))
		}
		for _, r := range recipients {
			if err := v.deliverable(config, r); err != nil {
				return err
			}
		}
		for _, r := range recipients {
			service, address, _ := strings.Cut(r, ":")
			message, err := notice.Render(ctx, []notice.Template{t}, subject, notice.Destination{Service: service, Recipient: address}, template.New(v.Dialer.Console.Clock))
			if err != nil {
				return fmt.Errorf("template %s: %w", args[0], err)
			}
			if err := output.Object(v.Dialer.Console.Out, "yaml", message); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// deliverable says why a recipient gets nothing from here.
func (v *verbs) deliverable(config *notice.Config, recipient string) error {
	service, address, _ := strings.Cut(recipient, ":")
	if service == printing {
		if address != "stdout" {
			return fail.New("use --recipient "+printing+":stdout", "--recipient %s: the service %s knows the recipient stdout only", recipient, printing)
		}
		return nil
	}
	kind, declared := config.Services[service]
	if !declared {
		known := append(slices.Collect(maps.Keys(config.Services)), printing)
		if err := config.Problems["service."+service]; err != nil {
			return err
		}
		return fail.New("use one of: "+strings.Join(slices.Sorted(slices.Values(known)), ", "), "--recipient %s: %s declares no service %q", recipient, notice.ConfigName, service)
	}
	return fail.New("leave --recipient out to see the message that would be sent", "--recipient %s: nothing was sent: this program does not deliver to services of type %s", recipient, kind)
}

// undeclared is the error for a name that the config map does not declare, or
// declares in a way that cannot be used.
func (v *verbs) undeclared(config *notice.Config, kind, name string, known []string) error {
	if err := config.Problems[kind+"."+name]; err != nil {
		return err
	}
	return fail.New(fmt.Sprintf("%s admin notifications %s get %s", v.Dialer.Console.Name, kind, command.Near(name, known)), "%s declares no %s %s", notice.ConfigName, kind, name)
}

func (v *verbs) runTrigger(f *notificationFlags) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "run NAME APP", Short: "Evaluate a trigger for an Application, which is a name, a file of type yaml or json, or -", Args: command.Args(2, 2),
		Long: "Evaluate the conditions of a trigger for an Application, and say which hold. APP is a name, NAMESPACE/NAME, a file that ends with .yaml, .yml or .json, or - for the input.",
	}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), noticeTimeout)
		defer cancel()
		config, subject, err := v.occasion(ctx, f, args[1])
		if err != nil {
			return err
		}
		t, ok := config.Triggers[args[0]]
		if !ok {
			return v.undeclared(config, "trigger", args[0], slices.Collect(maps.Keys(config.Triggers)))
		}
		all := said(t, t.Evaluate(ctx, subject))
		if format != "wide" && format != "" {
			return output.List(v.Dialer.Console.Out, format, all)
		}
		table := [][]string{{"CONDITION", "RESULT", "TEMPLATES", "ONCE PER", "MESSAGE"}}
		for _, o := range all {
			table = append(table, []string{strings.Join(strings.Fields(o.Condition), " "), strconv.FormatBool(o.Result), strings.Join(o.Templates, ", "), o.OncePer, o.Message})
		}
		return output.Table(v.Dialer.Console.Out, table)
	}
	return c
}

// outcome is what is said of a condition.
type outcome struct {
	Condition string   `json:"condition"`
	Result    bool     `json:"result"`
	Templates []string `json:"templates"`
	OncePer   string   `json:"oncePer,omitempty"`
	Message   string   `json:"message,omitempty"`
}

func said(t notice.Trigger, outcomes []notice.Outcome) []outcome {
	all := make([]outcome, len(t))
	for i, o := range outcomes {
		all[i] = outcome{Condition: t[i].When, Result: o.Holds, Templates: t[i].Send, OncePer: o.OncePer}
		if o.Err != nil {
			all[i].Message = o.Err.Error()
		}
	}
	return all
}

// occasion reads the config map, the Secret and what a notification is about.
func (v *verbs) occasion(ctx context.Context, f *notificationFlags, app string) (*notice.Config, *notice.Subject, error) {
	data, err := v.declares(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	config := notice.Parse(data)
	if err := config.Problems["context"]; err != nil {
		return nil, nil, err
	}
	s := &notice.Subject{Context: config.Context, Now: v.Dialer.Console.Clock.Now}
	inFile := app == "-" || slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(path.Ext(app)))
	if inFile {
		o, err := v.single(app)
		if err != nil {
			return nil, nil, err
		}
		if o.GroupVersionKind().GroupKind() != backup.Application.GroupKind() {
			return nil, nil, fail.New("name a file that holds one Application", "%s holds a %s", app, kindOf(o))
		}
		s.App = o.Object
	}
	if err := v.object(secretFile(f), "Secret", func(raw []byte) error {
		var secret corev1.Secret
		err := yaml.UnmarshalStrict(raw, &secret)
		s.Secrets = dataOf(&secret)
		return err
	}); err != nil {
		return nil, nil, err
	}
	if inFile && f.config != "" {
		return config, s, nil // no hub is needed
	}
	h, err := v.connect()
	if err != nil {
		return nil, nil, err
	}
	return config, s, h.about(ctx, s, app, f.secret == "")
}

func secretFile(f *notificationFlags) string {
	if f.secret == noSecret {
		return ""
	}
	return f.secret
}

// about reads from the hub what is not known of a subject yet.
func (h *hub) about(ctx context.Context, s *notice.Subject, app string, secrets bool) error {
	if s.App == nil {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(backup.Application)
		namespace, name, qualified := strings.Cut(app, "/")
		if !qualified {
			namespace, name = h.namespace, app
		}
		if err := h.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o); err != nil {
			return fmt.Errorf("Application %s/%s: %w", namespace, name, err) //nolint:staticcheck // names an object
		}
		s.App = o.Object
	}
	name, _, err := unstructured.NestedString(s.App, "spec", "project")
	if err != nil {
		return fmt.Errorf("spec.project: %w", err)
	}
	project := &unstructured.Unstructured{}
	project.SetGroupVersionKind(backup.Project)
	err = client.IgnoreNotFound(h.client.Get(ctx, client.ObjectKey{Namespace: h.namespace, Name: cmp.Or(name, "default")}, project))
	if err != nil {
		return fmt.Errorf("AppProject %s: %w", name, err) //nolint:staticcheck // names an object
	}
	s.Project = project.Object
	if !secrets {
		return nil
	}
	var secret corev1.Secret
	if err := client.IgnoreNotFound(h.client.Get(ctx, client.ObjectKey{Namespace: h.namespace, Name: notice.SecretName}, &secret)); err != nil {
		return fmt.Errorf("Secret %s: %w: give --secret %s to do without", notice.SecretName, err, noSecret) //nolint:staticcheck // names an object
	}
	s.Secrets = secret.Data
	return nil
}
