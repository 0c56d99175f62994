# make run    install what is missing, build, and start the server on an embedded store in ./data
# make test   install what tests need and run all of them
# make loadtest   measure the change path of a server started for the purpose

.DEFAULT_GOAL := run
SHELL := bash
.SHELLFLAGS := -o pipefail -c
.PHONY: run build test test-swift test-e2e deps deps-test format lint loadtest loadtest-push loadtest-turns loadtest-bookings loadtest-portfolio baseline-venv clean

SYSTEM_PACKAGES = libsqlite3-dev libcrypt-dev libpq-dev libhiredis-dev libssl-dev zlib1g-dev pkg-config
# Servers that tests start for themselves, in temporary folders and on free ports, and clients that they try the doors with.
TEST_PACKAGES = postgresql redis-server openssl curl chromium
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
VENV := .build/venv
# Tests at a time. Without a bound all of them start at once, and each waits for the others while its servers' timeouts run.
TEST_WIDTH ?= 8
# End-to-end tests: how many at once. Most of them wait most of the time.
E2E_WORKERS ?= 4
PYTEST = PLANTAO_BIN="$(CURDIR)/.build/debug/plantao" $(VENV)/bin/python -m pytest -c Tests/EndToEnd/pytest.ini -n $(E2E_WORKERS) --dist worksteal Tests/EndToEnd

# Installs the Debian packages that are missing; asks apt only when there are any.
define install_packages
	@missing=$$(for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing $$missing"; \
		$(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; \
	fi
endef

deps:
	$(call install_packages,$(SYSTEM_PACKAGES))

deps-test: deps
	$(call install_packages,$(TEST_PACKAGES))
	@python3 -m venv --help >/dev/null 2>&1 && python3 -c 'import ensurepip' 2>/dev/null \
		|| { $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends python3 python3-venv; }
	@[ -x $(VENV)/bin/python ] || python3 -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r Tests/EndToEnd/requirements.txt

build: deps
	swift build -c release --product plantao

run: build
	.build/release/plantao serve

test: test-swift test-e2e

test-swift: deps-test
	swift build --build-tests
	SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=$(TEST_WIDTH) swift test --skip-build 2>&1 | tee .build/test-swift.log \
		|| { echo; echo "What failed (everything is in .build/test-swift.log):"; grep -aE '✘|recorded an issue|↳|error:' .build/test-swift.log | tail -40; exit 1; }

test-e2e: deps-test
	swift build --product plantao
	$(PYTEST)

loadtest: build
	swift build -c release --product loadtest
	.build/release/loadtest --server .build/release/plantao

# What a push costs, beside FastAPI in the same run (loadtest/README.md).
BASELINE_VENV := .build/baseline-venv
baseline-venv: $(BASELINE_VENV)/.done
$(BASELINE_VENV)/.done: loadtest/baseline/requirements.txt
	python3 -m venv $(BASELINE_VENV)
	$(BASELINE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

LOADTEST = .build/release/loadtest
loadtest-push: build baseline-venv
	swift build -c release --product loadtest
	$(LOADTEST) fanout --baseline
	$(LOADTEST) fanout --baseline --rate 0
	$(LOADTEST) rpc --baseline
	$(LOADTEST) idle --baseline
	$(LOADTEST) storm --baseline
	$(LOADTEST) chat --baseline
	$(LOADTEST) slow-consumers

# What a booking costs, and a month's availability, beside the same.
loadtest-bookings: build deps-test baseline-venv
	swift build -c release --product loadtest
	$(LOADTEST) bookings

# What a turn costs, beside FastAPI, SQLAlchemy and Postgres in the same run.
loadtest-turns: build deps-test baseline-venv
	swift build -c release --product loadtest
	$(LOADTEST) turns --baseline --rounds 3

# Customers' health at full size, beside FastAPI, pandas, Postgres and Redis in the same run.
loadtest-portfolio: build deps-test baseline-venv
	$(BASELINE_VENV)/bin/python loadtest/baseline/portfolio.py --server .build/release/plantao

format:
	swift format -i -r --configuration .swift-format Package.swift Sources Tests loadtest

lint:
	swift format lint -r --configuration .swift-format Package.swift Sources Tests loadtest

clean:
	rm -rf .build
