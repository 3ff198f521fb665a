package repo

import (
	"cmp"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// Certificates is the group about certificates and host keys.
func Certificates(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	return command.Group("cert", "Manage certificates and host keys of repositories", v.addTLS(), v.addSSH(), v.listCertificates(), v.removeCertificates())
}

func (v *verbs) addTLS() *cobra.Command {
	var from string
	var upsert bool
	c := &cobra.Command{Use: "add-tls SERVERNAME", Short: "Trust certificates for a server", Args: command.Args(1, 1)}
	c.Flags().StringVar(&from, "from", "", "PEM file; default: the input")
	c.Flags().BoolVar(&upsert, "upsert", false, "replace those that are different")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := v.d.Console.ReadFile(cmp.Or(from, "-"))
		if err != nil {
			return err
		}
		text, n := v.unique(raw)
		if n == 0 {
			return fail.Fatal("No valid certificates have been detected in the stream: it must be PEM")
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		cert := client.Certificate{ServerName: args[0], CertType: "https", CertData: []byte(text)}
		if _, err := api.CreateCertificates(cmd.Context(), []client.Certificate{cert}, upsert); err != nil {
			return err
		}
		v.d.Console.Printf("Created/updated TLS certificate entry for repository server %s with %d unique PEM certificates\n", args[0], n)
		return nil
	}
	return c
}

// unique keeps the first of equal certificates.
func (v *verbs) unique(raw []byte) (text string, n int) {
	seen := map[string]bool{}
	var out strings.Builder
	for {
		block, rest := pem.Decode(raw)
		if block == nil {
			return out.String(), n
		}
		raw = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		if seen[string(block.Bytes)] {
			v.d.Console.Warnf("WARNING: certificate %d is a duplicate and is left out", len(seen)+1)
			continue
		}
		seen[string(block.Bytes)] = true
		n++
		_ = pem.Encode(&out, block) // a strings.Builder does not fail
	}
}

func (v *verbs) addSSH() *cobra.Command {
	var from string
	var upsert, batch bool
	c := &cobra.Command{Use: "add-ssh --batch", Short: "Trust host keys in the form of known_hosts", Args: command.Args(0, 0)}
	c.Flags().StringVar(&from, "from", "", "file; default: the input")
	c.Flags().BoolVar(&batch, "batch", false, "read many host keys")
	c.Flags().BoolVar(&upsert, "upsert", false, "replace those that are different")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if !batch {
			return fail.Fatal("You need to specify --batch or specify --help for usage instructions")
		}
		raw, err := v.d.Console.ReadFile(cmp.Or(from, "-"))
		if err != nil {
			return err
		}
		certs, err := knownHosts(string(raw))
		if err != nil {
			return err
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		created, err := api.CreateCertificates(cmd.Context(), certs, upsert)
		if err != nil {
			return err
		}
		v.d.Console.Printf("Successfully created %d SSH known host entries\n", len(created))
		for i := range created {
			c := &created[i]
			v.d.Console.Printf("  %s %s %s\n", output.Clean(c.ServerName), output.Clean(c.CertSubType), output.Clean(c.CertInfo))
		}
		return nil
	}
	return c
}

// knownHosts reads lines of a known_hosts file; hashed names are refused, since
// nobody could see later what they trust.
func knownHosts(text string) ([]client.Certificate, error) {
	var out []client.Certificate
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "@") {
			return nil, fmt.Errorf("line %d is no line of known_hosts with a readable name: want NAME TYPE KEY", n)
		}
		key, err := base64.StdEncoding.DecodeString(fields[2])
		if err != nil {
			return nil, fmt.Errorf("line %d: the key is no base64", n)
		}
		for _, name := range strings.Split(fields[0], ",") {
			out = append(out, client.Certificate{ServerName: name, CertType: "ssh", CertSubType: fields[1], CertData: []byte(base64.StdEncoding.EncodeToString(key))})
		}
	}
	if len(out) == 0 {
		return nil, fail.Fatal("No valid SSH known hosts data found.")
	}
	return out, nil
}

func (v *verbs) listCertificates() *cobra.Command {
	var format, order string
	q := client.CertificateQuery{}
	c := &cobra.Command{Use: "list", Short: "List certificates and host keys", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.Flags().StringVar(&order, "sort", "", "hostname or type")
	c.Flags().StringVar(&q.Type, "cert-type", "", "only ssh or https")
	c.Flags().StringVar(&q.HostPattern, "hostname-pattern", "", "only names that fit this glob")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		switch q.Type {
		case "", "ssh", "https", "tls":
		default:
			return fail.Fatal("cert-type must be either ssh or https")
		}
		if !slices.Contains([]string{"", "hostname", "host", "type"}, order) {
			return fail.Fatal("--sort %q: use hostname or type", order)
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		all, err := api.Certificates(cmd.Context(), q)
		if err != nil {
			return err
		}
		slices.SortStableFunc(all, func(a, b client.Certificate) int {
			switch order {
			case "hostname", "host":
				return cmp.Compare(a.ServerName, b.ServerName)
			case "type":
				return cmp.Compare(a.CertType, b.CertType)
			}
			return 0
		})
		if format != "wide" && format != "" {
			return output.List(v.d.Console.Out, format, all)
		}
		table := [][]string{{"HOSTNAME", "TYPE", "SUBTYPE", "INFO"}}
		for i := range all {
			table = append(table, []string{all[i].ServerName, all[i].CertType, all[i].CertSubType, all[i].CertInfo})
		}
		return output.Table(v.d.Console.Out, table)
	}
	return c
}

func (v *verbs) removeCertificates() *cobra.Command {
	q := client.CertificateQuery{}
	c := &cobra.Command{Use: "rm REPOSERVER", Short: "Remove certificates and host keys", Args: command.Args(1, 1)}
	c.Flags().StringVar(&q.Type, "cert-type", "", "only ssh or https")
	c.Flags().StringVar(&q.SubType, "cert-sub-type", "", "only host keys of this kind")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] == "*" {
			return fail.Fatal("A single wildcard is not allowed as REPOSERVER name.")
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		q.HostPattern = args[0]
		return v.eachConfirmed(args, "certificates of", func(string) error {
			removed, err := api.DeleteCertificates(cmd.Context(), q)
			if err != nil {
				return err
			}
			for i := range removed {
				r := &removed[i]
				v.d.Console.Printf("Removed cert for '%s' of type '%s' (subtype '%s')\n", output.Clean(r.ServerName), r.CertType, output.Clean(r.CertSubType))
			}
			if len(removed) == 0 {
				v.d.Console.Printf("No certificates were removed (none matched the given pattern)\n")
			}
			return nil
		})
	}
	return c
}
