# SPDX-License-Identifier: Apache-2.0
#
# Go and git are all that is needed: every tool is built from its Go module.

.DEFAULT_GOAL := help
SHELL := /bin/bash

GO ?= go
# Nothing here needs a C compiler; `make race` does and says so.
export CGO_ENABLED ?= 0

# What `make generate` writes, and `make verify` compares with the commit.
GENERATED := repo-layout/schema docs/findings.md docs/fields.md docs/flags.md deploy/chart/espalier/files test/loop/testdata/flux deploy/crd deploy/rbac/role.yaml deploy/rbac/karpenter/role.yaml repo-layout/v1alpha1/zz_generated.deepcopy.go

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/espalier
	$(GO) build -o bin/ ./cmd/...

.PHONY: image
image: ## Build the container image for amd64 and arm64 into dist/, without Docker; PUSH=registry/name:tag pushes it
	@$(GO) run ./deploy/image/build $(if $(PUSH),"--push=$(PUSH)")

.PHONY: manifests
manifests: ## Pack the manifests for Flux's OCIRepository into dist/; PUSH=registry/name:tag pushes them
	@$(GO) run ./deploy/artifact/build $(if $(PUSH),"--push=$(PUSH)")

.PHONY: demo
demo: ## Show the whole loop on a local control plane; ARGS=--keep stays up
	@echo "Compiling the demo (1 to 3 minutes when nothing is cached)."
	@$(GO) run ./test/demo $(ARGS)

##@ Tests

# Packages are tested in this order, two at a time on two cores.
LONGEST := ./test/loop ./reconciler/nodepool

.PHONY: test
test: control-plane bin/helm ## Run the tests, on a real control plane; says which need more
	$(GO) test -timeout 20m $(LONGEST) ./...
	@for kit in gitea=forge karpenter=karpenter source-controller=flux kubelet=node; do \
		test -e "bin/$${kit%=*}" || echo "Skipped test/$${kit#*=}: 'make e2e-$${kit#*=}' builds what it needs."; \
	done
	@test -e bin/karpenter || echo "Skipped TestOverlay/karpenter of test/install: 'make e2e-karpenter' builds what it needs."
	@test -e bin/promrules || echo "Skipped TestAlertsFire of test/deploy: 'make verify-alerts' builds what it needs."

.PHONY: race
race: control-plane bin/helm ## Run the same tests with the race detector; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race -timeout 40m ./...

.PHONY: control-plane
control-plane: ## Build etcd, Kubernetes and kwok into bin/ (8 to 25 minutes the first time)
	@$(GO) run ./test/cluster/build

.PHONY: e2e-forge
e2e-forge: control-plane ## Test reviews against a real Gitea; builds it the first time (10 to 20 minutes, needs a C compiler)
	@$(GO) run ./test/cluster/build --forge
	$(GO) test -timeout 20m -count=1 -v ./test/forge

.PHONY: e2e-karpenter
e2e-karpenter: control-plane ## Build the real Karpenter, and run Espalier against it
	@$(GO) run ./test/cluster/build --karpenter
	$(GO) test -count=1 -timeout 20m ./test/karpenter
	$(GO) test -count=1 -timeout 20m -v ./test/install -run TestOverlay/karpenter

.PHONY: e2e-flux
e2e-flux: control-plane ## Build the real Flux controllers, and run Espalier with them (6 to 20 minutes the first time); FLUX=previous: the release before
	@$(GO) run ./test/cluster/build --flux$(if $(FLUX),-$(FLUX))
	$(GO) test -count=1 -timeout 20m -v ./test/flux $(if $(FLUX),-args -flux.release=$(FLUX))

.PHONY: e2e-node
e2e-node: control-plane ## Test on a real node, with kubelet, containerd and runc; builds them the first time (8 to 20 minutes; docs/design/0039)
	@$(GO) run ./test/cluster/build --node
	$(GO) test -count=1 -timeout 20m -v ./test/node

# Where the next two install Axolotl and vLLM, 10 GB each, and with which Python.
RUNTIMES ?= bin/runtimes
PYTHON ?= python3

.PHONY: verify-runtimes
verify-runtimes: ## Ask the real Axolotl and vLLM about the golden files; needs Python, a package index and 20 GB (ARGS=axolotl: one)
	$(GO) run ./test/runtimes -venvs "$(RUNTIMES)" -python "$(PYTHON)" $(ARGS)

.PHONY: e2e-train
e2e-train: ## Train on the CPU with the real Axolotl and what is rendered; needs Python, a package index and 10 GB (docs/design/0053)
	$(GO) run ./test/runtimes -venvs "$(RUNTIMES)" -python "$(PYTHON)" -install axolotl
	$(GO) test -count=1 -timeout 60m -v ./test/train -run TestRealAxolotl -args "-train.venv=$(abspath $(RUNTIMES))/axolotl"

.PHONY: verify-alerts
verify-alerts: bin/promrules ## Try the alerts with Prometheus' own engine, on series that raise each and on series that do not
	$(GO) test ./test/deploy -run TestAlertsFire -v -count=1

.PHONY: accuracy
accuracy: ## Compare the memory estimates with measured runs
	$(GO) test ./gpu/fit -run TestAccuracy -v -count=1

.PHONY: bench
bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-scale
bench-scale: control-plane ## Measure pushes on a real API server, beside Flux (docs/performance.md; ARGS="-n 1000": more Workspaces)
	@$(GO) run ./test/cluster/build --flux
	@$(GO) run ./test/scale/bench $(ARGS)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s)
	@for file in $$(git grep -l '^func Fuzz' -- '*_test.go'); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
			echo "$$target in $$(dirname $$file)"; \
			$(GO) test ./$$(dirname $$file) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),10s) || exit 1; \
		done; \
	done

.PHONY: nightly
nightly: ## Run each fuzz target for a minute, the long random walks, a kill a run, the benchmarks
	$(MAKE) fuzz FUZZTIME=60s
	$(GO) test ./reconciler/nodepool -run TestWalk -v -count=1 -timeout 30m -args -walk.steps=10000 -walk.seed=$$(date -u +%Y%m%d)
	$(GO) test ./test/loop -run 'TestWalk$$' -v -count=1 -timeout 60m -args -walk.steps=500
	$(GO) test ./test/loop -run TestKillAtEveryPhase -v -count=1 -timeout 30m -args -kill.each
	$(MAKE) bench

##@ What a change must pass

.PHONY: presubmit
presubmit: verify lint test ## What a pull request must pass

.PHONY: generate
generate: bin/controller-gen ## Generate CRDs, RBAC, deep copies, JSON schemas, the chart's manifests and docs of findings, fields and flags
	bin/controller-gen object crd paths=./repo-layout/v1alpha1/... output:crd:dir=deploy/crd
	bin/controller-gen rbac:roleName=espalier paths=./reconciler/... output:rbac:dir=deploy/rbac
	bin/controller-gen rbac:roleName=espalier-karpenter paths=./gpu/karpenter/... output:rbac:dir=deploy/rbac/karpenter
	$(GO) run ./test/generate
	@$(GO) test ./cmd/espalier -run TestFlagsPage -count=1 -args -update
	bin/controller-gen crd paths=github.com/fluxcd/source-controller/api/v1 output:crd:dir=test/loop/testdata/flux

.PHONY: verify
verify: generate ## Fail when generated files, go.mod or the formatting are not as they should be
	@test -z "$$(git status --porcelain -- $(GENERATED))" || \
		{ git --no-pager diff -- $(GENERATED); git status --short -- $(GENERATED); \
		  echo "Generated files differ from the commit: run 'make generate' and commit them."; exit 1; }
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); test -z "$$unformatted" || \
		{ echo "Not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...

.PHONY: lint
lint: bin/golangci-lint ## Run the linters of .golangci.yml
	bin/golangci-lint run --allow-parallel-runners ./...

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist

bin/controller-gen: test/tools/go.mod test/tools/go.sum
	$(GO) build -C test/tools -o ../../$@ sigs.k8s.io/controller-tools/cmd/controller-gen

bin/helm: test/tools/helm/go.mod test/tools/helm/go.sum
	@echo "Building helm (1 to 4 minutes when nothing is cached)."
	$(GO) build -C test/tools/helm -o ../../../$@ helm.sh/helm/v4/cmd/helm

bin/promrules: test/tools/prometheus/main.go test/tools/prometheus/go.mod test/tools/prometheus/go.sum
	@echo "Building Prometheus' engine for alerts (1 to 4 minutes when nothing is cached)."
	$(GO) build -C test/tools/prometheus -o ../../../$@ .

bin/golangci-lint: test/tools/lint/go.mod test/tools/lint/go.sum
	@echo "Building golangci-lint (1 to 3 minutes when nothing is cached)."
	$(GO) build -C test/tools/lint -o ../../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
