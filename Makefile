# The commands of this project. Everything is built in bin/ and needs Go only; `make test` also installs, where it may,
# the peers and tools that its tests look through.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)"

.PHONY: build install uninstall demo demo-once test test-packages race bench fuzz lint clean

build:
	$(BUILD) -o bin/ ./cmd/...

# What is installed, after `make build`. PREFIX=/usr is for packages. Nothing in CONFDIR is touched, nothing is started or stopped:
# docs/operating.md says how a daemon that runs goes over to what is installed.
DESTDIR  ?=
PREFIX   ?= /usr/local
CONFDIR  ?= /etc/bothways
PROGRAM  ?= bin/bothways
SBINDIR   = $(PREFIX)/sbin
UNIT      = $(PREFIX)/lib/systemd/system/bothways.service
SYSUSERS  = $(PREFIX)/lib/sysusers.d/bothways.conf

# The program gets its name by a rename: one that runs keeps its file, and there is no moment without one.
install:
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(CONFDIR)
	install -m 0755 $(PROGRAM) $(DESTDIR)$(SBINDIR)/.bothways.new
	mv -f $(DESTDIR)$(SBINDIR)/.bothways.new $(DESTDIR)$(SBINDIR)/bothways
	install -D -m 0644 packaging/bothways.sysusers $(DESTDIR)$(SYSUSERS)
	install -d $(DESTDIR)$(dir $(UNIT))
	sed -e 's|@SBINDIR@|$(SBINDIR)|' -e 's|@CONFDIR@|$(CONFDIR)|' packaging/bothways.service >$(DESTDIR)$(UNIT)
	chmod 0644 $(DESTDIR)$(UNIT)

uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/bothways $(DESTDIR)$(UNIT) $(DESTDIR)$(SYSUSERS)

demo: build
	bin/bothways-lab demo

demo-once: build
	bin/bothways-lab demo --once

# One package after the other: many keep time with the kernel or with another router's process, beside their own tests already.
test: build test-packages
	CGO_ENABLED=0 $(GO) test -p 1 -timeout 30m ./...

test-packages:
	@scripts/test-packages

# The race detector, on everything that does not need another process to keep time.
race:
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v -e /internal/lab -e /internal/e2e)

# Everything that bench/ measures, beside the other routers; root, and an hour in which the machine does nothing else.
# `go run ./bench -h` has the single cases.
bench: build test-packages
	$(GO) build -o bin/bench ./bench
	bin/bench -o bench/RESULTS.md

# Every fuzz target for a short while.
fuzz:
	@scripts/fuzz

lint:
	@test -z "$$(gofmt -l bench cmd internal)" || { echo "gofmt wants changes in:"; gofmt -l bench cmd internal; exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

clean:
	rm -rf bin
