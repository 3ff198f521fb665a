// Command authplugin stands in for the programs by which clouds hand out
// credentials: it notes how it was called and prints a token from a file, or
// as it is a whole credential.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	log, err := os.OpenFile(os.Getenv("AUTHPLUGIN_LOG"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	call := map[string]any{
		"program": filepath.Base(os.Args[0]), "args": os.Args[1:], "method": os.Getenv("AAD_LOGIN_METHOD"), "info": os.Getenv("KUBERNETES_EXEC_INFO"),
	}
	if err := json.NewEncoder(log).Encode(call); err != nil {
		return err
	}
	if file := os.Getenv("AUTHPLUGIN_CREDENTIAL"); file != "" {
		whole, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(whole)
		return err
	}
	token, err := os.ReadFile(os.Getenv("AUTHPLUGIN_TOKEN"))
	if err != nil {
		return err
	}
	version := "client.authentication.k8s.io/v1beta1"
	if strings.Contains(os.Getenv("KUBERNETES_EXEC_INFO"), "client.authentication.k8s.io/v1\"") {
		version = "client.authentication.k8s.io/v1"
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"apiVersion": version, "kind": "ExecCredential", "status": map[string]any{
		"token": strings.TrimSpace(string(token)), "expirationTimestamp": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}})
}
