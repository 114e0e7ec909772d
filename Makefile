# Everything a fresh Debian machine with Go and git needs; each target does its
# own set-up. KEEP=1 leaves the demo running.
SHELL := /bin/bash
GO ?= go
BIN := bin
TOOLS := .cache/tools
VECTORS := $(abspath ../shared/vectors)
CONFIGS := $(abspath ../shared/configs)
# go-nvml's own C code uses names that its headers call deprecated.
export CGO_CFLAGS := -O2 -g -Wno-deprecated-declarations
ifneq ($(wildcard $(VECTORS)),)
export CASEMATE_VECTORS := $(VECTORS)
endif
ifneq ($(wildcard $(CONFIGS)),)
export CASEMATE_CONFIGS := $(CONFIGS)
endif
COMMANDS := agent coordinator gateway guest casemate
TEST_TIMEOUT ?= 15m
# Network namespaces need root; elsewhere those tests are named as not run.
ifneq ($(shell id -u),0)
export CASEMATE_NO_NETNS := 1
endif

# Programs whose libraries, or cgo, would weigh on all others: modules of their own.
MODULES := sigstore pkcs11
cgo_sigstore := 0
cgo_pkcs11 := 1

.PHONY: all build programs $(MODULES:%=build-%) $(MODULES:%=test-%) demo test test-fast test-modules test-firmware generate check-generated lint fmt clean apt \
	bench bench-updates bench-gateway bench-attest bench-store bench-load soak sweep fuzz

all: build

# All but casemate-sign-pkcs11, which needs a C compiler: make build-pkcs11.
build: programs build-sigstore

programs:
	@mkdir -p $(BIN)
	@for c in $(COMMANDS); do \
		name=casemate-$$c; [ $$c = casemate ] && name=casemate; \
		CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/$$name ./cmd/$$c || exit 1; \
	done

build-sigstore:
	@mkdir -p $(BIN)
	cd sigstore && CGO_ENABLED=0 $(GO) build -trimpath -o ../$(BIN)/casemate-sigstore .

build-pkcs11: apt
	@mkdir -p $(BIN)
	cd pkcs11 && CGO_ENABLED=1 $(GO) build -trimpath -o ../$(BIN)/casemate-sign-pkcs11 .

# It verifies what simulated vendors and a key sign; nothing waits for Sigstore's
# libraries to be built.
demo: programs
	@$(BIN)/casemate dev demo $(if $(KEEP),--keep)

# What the tests need besides Go: a C compiler for the race detector, go-nvml, NSCQ and its double,
# systemd-analyze and perl for what is deployed, SoftHSM for keys in tokens, real firmware to measure, openssl for the example of a workflow.
apt:
	@missing=(); \
	command -v gcc >/dev/null || missing+=(gcc libc6-dev); \
	[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev); \
	command -v systemd-analyze >/dev/null || missing+=(systemd); \
	command -v perl >/dev/null || missing+=(perl); \
	command -v ip >/dev/null || missing+=(iproute2); \
	command -v openssl >/dev/null || missing+=(openssl); \
	command -v softhsm2-util >/dev/null || missing+=(softhsm2); \
	[ -e /usr/share/ovmf/OVMF.fd ] || missing+=(ovmf); \
	if [ $${#missing[@]} -gt 0 ]; then \
		echo "installing $${missing[*]}"; \
		sudo=(); [ "$$(id -u)" = 0 ] || sudo=(sudo -n); \
		"$${sudo[@]}" apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive "$${sudo[@]}" apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi

test: apt build $(TOOLS)/grpcurl
	@[ -z "$$CASEMATE_NO_NETNS" ] || echo "not run: test/netns (it needs root)"
	@[ -n "$$CASEMATE_VECTORS" ] || echo "not run: recorded evidence (CASEMATE_VECTORS names no folder)"
	CASEMATE_BIN=$(abspath $(BIN)) CASEMATE_GRPCURL=$(abspath $(TOOLS))/grpcurl \
		$(GO) test -race -timeout $(TEST_TIMEOUT) ./...
	$(MAKE) --no-print-directory test-modules

# Without the race detector, as they are built: these programs have one goroutine each.
test-modules: $(MODULES:%=test-%)

$(MODULES:%=test-%): test-%: programs build-%
	cd $* && CGO_ENABLED=$(cgo_$*) CASEMATE_BIN=$(abspath $(BIN)) $(GO) test -trimpath -timeout $(TEST_TIMEOUT) ./...

test-fast: build $(TOOLS)/grpcurl
	CASEMATE_BIN=$(abspath $(BIN)) CASEMATE_GRPCURL=$(abspath $(TOOLS))/grpcurl \
		$(GO) test -short -timeout $(TEST_TIMEOUT) ./...

$(TOOLS)/buf: tools/go.mod tools/go.sum
	@mkdir -p $(TOOLS)
	cd tools && CGO_ENABLED=0 $(GO) build -o ../$(TOOLS)/ github.com/bufbuild/buf/cmd/buf \
		google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	@touch $@

$(TOOLS)/grpcurl: tools/grpcurl/go.mod tools/grpcurl/go.sum
	@mkdir -p $(TOOLS)
	cd tools/grpcurl && CGO_ENABLED=0 $(GO) build -o ../../$(TOOLS)/ github.com/fullstorydev/grpcurl/cmd/grpcurl
	@touch $@

$(TOOLS)/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	@mkdir -p $(TOOLS)
	cd tools/lint && CGO_ENABLED=0 $(GO) build -o ../../$(TOOLS)/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

# Side by side with what a user would take instead; minutes each. haproxy comes
# from Debian.
bench: build bench-updates bench-gateway bench-attest bench-store bench-load

bench-updates: build
	$(GO) run ./test/updatebench -bin $(BIN)

bench-gateway:
	@command -v haproxy >/dev/null || { \
		sudo=(); [ "$$(id -u)" = 0 ] || sudo=(sudo -n); \
		"$${sudo[@]}" apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive "$${sudo[@]}" apt-get install -y -qq --no-install-recommends haproxy >/dev/null; }
	$(GO) run ./test/gatewaybench
	$(GO) run ./test/gatewaybench -only bulk -congestion reno

bench-attest:
	$(GO) test -run '^$$' -bench . -benchmem ./pkg/attest/...

bench-store:
	$(GO) test -run '^$$' -bench . -benchmem ./internal/store/... ./internal/coordinator/plan ./internal/coordinator/fleet ./test/load

bench-load:
	$(GO) run ./test/load

# As long as told: make soak FOR=8h, or make soak STEPS=100000000.
soak:
	@mkdir -p .cache
	$(GO) test -c -o .cache/sim.test ./test/sim
	cd test/sim && SOAK_FOR=$(FOR) SOAK_STEPS=$(STEPS) GODEBUG=adaptivestackstart=1 ../../.cache/sim.test -test.run '^TestSoak$$' -test.timeout 0

# Changes every bit of all recorded evidence, and cuts it at every length; prints the
# table of what is accepted although changed, with the reasons. SEV-SNP and TDX take a
# minute or two and are in `make test-fast` too; NVIDIA's, a sample elsewhere, half an
# hour of two cores.
sweep:
	@[ -n "$$CASEMATE_VECTORS" ] || { echo "CASEMATE_VECTORS names no folder with recorded evidence"; exit 1; }
	CASEMATE_FULL_SWEEP=1 $(GO) test -count=1 -timeout 0 -v -run 'TestEveryChange|TestNoChange' \
		./pkg/attest/sevsnp ./pkg/attest/tdx ./pkg/attest/nvidia

# Whole firmware images of other distributions, whose measurements are published or
# computed independently; fetched by name and checked, so the network is needed.
FIRMWARE := $(CURDIR)/.cache/firmware
test-firmware:
	@command -v curl >/dev/null || { echo "install curl"; exit 1; }
	@test/firmware.sh $(FIRMWARE)
	CASEMATE_FIRMWARE=$(FIRMWARE) $(GO) test -count=1 -tags firmware -run 'OfUbuntus|OfDebians' ./pkg/attest/measure

# Every fuzz target for a few seconds; FUZZTIME=10m for longer, FUZZ=pkg/attest for
# one folder, PLAIN=1 without coverage. The corpora grow in .cache/fuzz; what a target
# must never forget lies in its testdata/fuzz.
FUZZTIME ?= 3s
FUZZ ?= cmd internal pkg $(MODULES)
fuzz:
	@GO=$(GO) PLAIN=$(PLAIN) test/fuzz.sh $(FUZZTIME) $(FUZZ)

generate: $(TOOLS)/buf
	rm -rf gen
	$(TOOLS)/buf generate

# Generated code is committed; it must be what the protos say.
check-generated: generate
	@git diff --exit-code -- gen || { echo "gen/ is stale: run make generate and commit"; exit 1; }
	@test -z "$$(git status --porcelain -- gen)" || { echo "gen/ has new files: commit them"; exit 1; }

lint: $(TOOLS)/buf $(TOOLS)/golangci-lint
	$(TOOLS)/buf lint
	$(TOOLS)/buf format --diff --exit-code proto
	@bad=$$(git ls-files '*.go' | grep -v '^gen/' | xargs gofmt -l); test -z "$$bad" || { echo "gofmt would change: $$bad"; exit 1; }
	$(GO) vet ./...
	$(TOOLS)/golangci-lint run
	cd sigstore && export CGO_ENABLED=$(cgo_sigstore) && $(GO) vet ./... && ../$(TOOLS)/golangci-lint run
	cd pkcs11 && export CGO_ENABLED=$(cgo_pkcs11) && $(GO) vet ./... && ../$(TOOLS)/golangci-lint run

fmt:
	gofmt -w $$(git ls-files '*.go' | grep -v '^gen/')
	$(TOOLS)/buf format -w proto

clean:
	rm -rf $(BIN) .cache
