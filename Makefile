# make help answers every question.
SHELL := /bin/bash
GO ?= go
BUILD := $(CURDIR)/build
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo dev)
K8S := v1.36.3
FLEET_FLAGS := -s -w -X k8s.io/component-base/version.gitVersion=$(K8S) -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36

.DEFAULT_GOAL := help
.PHONY: help build fleet dex demo test unit e2e verify bench mutation soak generate clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: fleet ## Build sluice, fleet, demo and bench into build/
	@echo "building sluice, demo and bench ..."
	@mkdir -p $(BUILD)
	@CGO_ENABLED=0 $(GO) build -ldflags '-s -w -X main.version=$(VERSION)' -o $(BUILD)/sluice-engine ./cmd/sluice
	@CGO_ENABLED=0 $(GO) build -ldflags '-s -w -X main.version=$(VERSION)' -o $(BUILD)/sluice ./cmd/cli
	@$(GO) build -o $(BUILD)/demo ./test/demo
	@$(GO) build -o $(BUILD)/bench ./test/bench

fleet: ## Build the local Kubernetes fleet (minutes the first time, then seconds)
	@echo "building the local Kubernetes fleet (about five minutes the first time, seconds after that) ..."
	@mkdir -p $(BUILD)
	@cd fleet && start=$$SECONDS; ($(GO) build -ldflags '$(FLEET_FLAGS)' -o $(BUILD)/fleet ./cmd/fleet) & pid=$$!; \
	  while kill -0 $$pid 2>/dev/null; do sleep 1; n=$$((n+1)); if [ $$((n % 15)) = 0 ]; then echo "  still building the fleet: $$n s"; fi; done; wait $$pid

dex: ## Build the Dex that tests log in at (a minute the first time)
	@echo "building Dex for tests ..."
	@mkdir -p $(BUILD)
	@cd test/dex && CGO_CFLAGS='-O0 -g0' $(GO) build -ldflags '-s -w' -o $(BUILD)/dex github.com/dexidp/dex/cmd/dex

demo: build ## Play the four acts on a local fleet; DEMO_EXIT=1 ends after them
	@$(BUILD)/demo

test: verify unit e2e ## Everything that CI runs

test/oidc/node_modules: test/oidc/package-lock.json
	@echo "installing the OpenID provider that tests log in at ..."
	@cd test/oidc && npm ci --no-audit --no-fund --ignore-scripts --silent && touch node_modules

unit: build test/oidc/node_modules ## Unit tests, the controllers under the race detector
	@echo "unit tests ..."
	@cd fleet && $(GO) test ./...
	@$(GO) test $$($(GO) list ./... | grep -v -e /test/e2e -e /test/crd -e /test/syncopts -e /test/server -e /internal/controller -e /internal/archtest)
	@$(GO) test -race ./internal/controller/... ./internal/domain/...

e2e: build dex ## Real clusters, the real process, and the demo's acts
	@echo "end-to-end tests on real clusters ..."
	@SLUICE_BIN=$(BUILD) $(GO) test ./test/e2e ./test/crd ./test/syncopts ./test/server -count=1 -timeout 30m
	@SLUICE_BIN=$(BUILD) $(GO) test -race ./test/server -run '^TestDeclarationsAreWrittenAtOnce$$' -count=1
	@DEMO_EXIT=1 $(BUILD)/demo

verify: ## Format, lint, generated code, architecture rules
	@hack/verify.sh

bench: build ## Measure; ONLY=prefix,... runs parts, LONG=1 its long form; writes build/bench.json
	@$(BUILD)/bench -only '$(ONLY)' $(if $(LONG),-long) -out $(BUILD)/bench.json

mutation: ## Put mistakes into the planner; a test must notice each
	@echo "mutations of the rollout planner (minutes) ..."
	@$(GO) run ./test/mutation

soak: build ## Suites that take longer than CI allows: hours; EVENTS=n shortens the first
	@SLUICE_BIN=$(BUILD) EVENTS='$(EVENTS)' hack/soak.sh

generate: ## Regenerate deepcopy, custom resource definitions, OpenAPI document and client
	@hack/generate.sh

clean: ## Remove build/
	@rm -rf $(BUILD)
