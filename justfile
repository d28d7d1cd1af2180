# What one does here, day by day. `just` lists it; every recipe works without `just` as well.

set shell := ["bash", "-euo", "pipefail", "-c"]

[private]
default:
    @just --list --unsorted

# Start Eddy on a Kubernetes of its own (or on KUBECONFIG's): `just up --nodes 3`
up *arguments:
    ./up {{ arguments }}

# Remove it again
down *arguments:
    ./down {{ arguments }}

# Everything that continuous integration checks
test:
    ./test

# Unit tests alone: seconds
unit *arguments:
    . dev/environment && cargo test --release --locked --workspace {{ arguments }}

# End-to-end tests on a cluster that is left running, as `./test --keep` leaves one
e2e *arguments:
    . dev/environment && PATH=$EDDY_CACHE/bin:$PATH EDDY_E2E_KUBECONFIG=$PWD/.eddy/eddy-test.kubeconfig \
      cargo test --release --locked -p eddy-e2e {{ arguments }} -- --include-ignored

# Format and lint
lint:
    cargo fmt --all
    . dev/environment && cargo clippy --release --locked --workspace --all-targets -- -D warnings

# Write crds/yaml/ anew from the types in crds/src/
generate:
    . dev/environment && cargo run --release --locked --quiet -p eddy-crds --bin crdgen crds/yaml

# Licences, advisories, doubled and banned crates (needs cargo-deny)
deny:
    cargo deny check

# Feed a parser random bytes: `just fuzz dataplane/gateway/router host` (needs cargo-fuzz)
fuzz crate target seconds="60":
    cd {{ crate }}/fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run {{ target }} -- -max_total_time={{ seconds }}

# The figures of docs/benchmarks.md: `just bench gateway`
bench name *arguments:
    e2e/bench/{{ name }} {{ arguments }}
