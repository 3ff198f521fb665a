package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
	apirest "github.com/sluice-cd/sluice/internal/server/rest"
)

// param is what a key of argocd-cmd-params-cm fills in where its flag is not
// given.
type param[T any] struct {
	flag string
	into *T
}

// histogramVariable publishes grpc_server_handling_seconds.
const histogramVariable = "ARGOCD_ENABLE_GRPC_TIME_HISTOGRAM"

// complete takes over what argocd-cmd-params-cm says and flags do not.
func (f *serverFlags) complete(params map[string]string) error {
	for key, one := range map[string]param[bool]{
		"server.insecure": {"insecure", &f.Insecure}, "server.disable.auth": {"disable-auth", &f.DisableAuth}, "server.enable.gzip": {"enable-gzip", &f.Gzip},
		"server.sync.replace.allowed": {"sync-with-replace-allowed", &f.ReplaceAllowed},
		"server.dex.server.plaintext": {"dex-server-plaintext", &f.dexPlain}, "server.dex.server.strict.tls": {"dex-server-strict-tls", &f.dexStrict},
	} {
		if b, err := strconv.ParseBool(params[key]); err == nil && !f.changed(one.flag) {
			*one.into = b
		}
	}
	texts := map[string]param[string]{
		"server.basehref": {"basehref", &f.BaseHRef}, "server.rootpath": {"rootpath", &f.RootPath}, "server.api.content.types": {"api-content-types", &f.contentTypes},
		"server.dex.server": {"dex-server", &f.dex},
	}
	maps.Copy(texts, f.tls.params())
	for key, one := range texts {
		if v, ok := params[key]; ok && !f.changed(one.flag) {
			*one.into = v
		}
	}
	if v := params["server.listen.address"]; v != "" && !f.changed("address") {
		f.Address = v
	}
	f.ContentTypes = listOf(f.contentTypes, ";")
	if f.RootPath != "" && f.BaseHRef == "/" {
		f.BaseHRef = f.RootPath
	}
	f.Histogram, _ = strconv.ParseBool(os.Getenv(histogramVariable)) // anything else is no
	var err error
	if f.MinTLS, f.MaxTLS, f.Ciphers, err = f.tls.parse(); err != nil {
		return err
	}
	return errors.Join(f.hooks(params), f.trusted(params))
}

// hooks reads how much is done about webhooks at a time.
func (f *serverFlags) hooks(params map[string]string) error {
	for key, one := range map[string]param[int]{
		"server.webhook.parallelism.limit": {"webhook-parallelism-limit", &f.hookWorkers}, "server.webhook.refresh.workers": {"webhook-refresh-workers", &f.hookWriters},
	} {
		from := "--" + one.flag
		if v := strings.TrimSpace(params[key]); v != "" && !f.changed(one.flag) {
			n, err := strconv.Atoi(v)
			if err != nil {
				n = 0
			}
			*one.into, from = n, "ConfigMap/"+settings.ParamsName+", "+key
		}
		if *one.into < 1 || *one.into > 1000 {
			return fmt.Errorf("%s: want a number from 1 to 1000", from)
		}
	}
	return nil
}

// trusted reads which proxies are believed.
func (f *serverFlags) trusted(params map[string]string) error {
	named, from := f.proxies, "--trusted-proxies"
	if v := params["server.trusted.proxies"]; v != "" && !f.changed("trusted-proxies") {
		named, from = strings.Split(v, ","), "ConfigMap/"+settings.ParamsName+", server.trusted.proxies"
	}
	var err error
	if f.Proxies, err = apirest.ParseProxies(named); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return nil
}

// metrics is where /metrics is answered, "" nowhere: beside the API unless
// argocd-cmd-params-cm says otherwise.
func (s *serverProcess) metrics(params map[string]string) string {
	if s.metricsPort == 0 {
		return ""
	}
	host := s.flags.Address
	if v := params["server.metrics.listen.address"]; v != "" {
		host = v
	}
	return net.JoinHostPort(host, strconv.Itoa(s.metricsPort))
}

// Keys of argocd-cmd-params-cm for the log of a server.
const (
	logLevelKey  = "server.log.level"
	logFormatKey = "server.log.format"
)

// logs makes the log as argocd-cmd-params-cm says where flags do not.
func (s *serverProcess) logs(params map[string]string) error {
	if v := params[logFormatKey]; v != "" && !s.flags.changed("logformat") {
		given := s.all.logFormat
		s.all.logFormat = v
		log, err := s.all.logger()
		if err != nil {
			s.all.logFormat = given
			return fmt.Errorf("ConfigMap/%s: %s=%q: want json or text", settings.ParamsName, logFormatKey, v)
		}
		s.log = log
		setLoggers(log)
	}
	if s.flags.changed("loglevel") {
		return nil
	}
	return s.all.levelFrom(params, logLevelKey)
}

// followLevel changes the level of the log with argocd-cmd-params-cm.
func (s *serverProcess) followLevel(declared *settings.Store) {
	if s.flags.changed("loglevel") {
		return
	}
	declared.OnChange(func(now *settings.Snapshot) {
		if err := s.all.levelFrom(now.Params, logLevelKey); err != nil {
			s.log.Warn("setting not usable", "message", err.Error())
		}
	})
}
