#!/usr/bin/env bash
# Fetches the prebuilt files of GraphiQL into bff-web/assets/graphiql/, which are committed: neither `cargo build` nor
# `make demo` needs Node. Run it to change a version or to see that what is committed is what was published.
#
# 4.1.2 is the last GraphiQL with a build that needs no bundler, and React 18 the last React with one.
set -euo pipefail

cd "$(dirname "$0")/.."
target=bff-web/assets/graphiql

command -v npm >/dev/null || { echo "vendor-graphiql: npm is missing (on Debian: apt-get install npm)" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# vendor PACKAGE VERSION FILE...: takes the package's files and its licence.
vendor() {
    local package=$1 version=$2 archive
    shift 2
    archive=$(cd "$work" && npm pack --silent "$package@$version")
    mkdir -p "$work/$package"
    tar -xzf "$work/$archive" -C "$work/$package" --strip-components=1
    for file in "$@"; do
        cp "$work/$package/$file" "$target/$(basename "$file")"
    done
    cp "$work/$package/LICENSE" "$target/LICENSE-$package"
}

mkdir -p "$target"
vendor graphiql 4.1.2 graphiql.min.js graphiql.min.css
vendor react 18.3.1 umd/react.production.min.js
vendor react-dom 18.3.1 umd/react-dom.production.min.js

cd "$target"
chmod 644 ./*
if [ "${1:-}" = --update ]; then
    sha256sum -- *.js *.css LICENSE-* > SHA256SUMS
fi
sha256sum --check --quiet SHA256SUMS
echo "vendor-graphiql: $target is as published"
