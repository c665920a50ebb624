#!/usr/bin/env bash
# Judges a change for every cluster: first what is wrong with it, by file and
# line, then what it would change, cost and interrupt, as Markdown. Exits with 1
# when something is refused. It reaches no cluster and needs no secret.
#
#     BASE=origin/main HEAD=HEAD bash ci/espalier.sh
#
# BASE and HEAD are revisions; what is not committed is validated and not planned.
# ESPALIER is the program, by default the one in PATH.
set -euo pipefail

espalier=${ESPALIER:-espalier}

# This folder may lie within a larger repository: paths are from its root.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$(git rev-parse --show-prefix)
cd "$(git rev-parse --show-toplevel)"

head=$(git rev-parse --verify --quiet "${HEAD:-HEAD}^{commit}") ||
  { echo "HEAD: there is no revision ${HEAD:-HEAD} here: fetch it" >&2; exit 2; }
base=$(git merge-base "${BASE:-origin/main}" "$head") ||
  { echo "BASE: ${BASE:-origin/main} and $head have no commit in common here: fetch both, with their history" >&2; exit 2; }

refused=0
for sync in "${folder}"clusters/*/reposync.yaml; do
  cluster=$(dirname "$sync")
  echo "== $cluster" >&2
  "$espalier" validate "$cluster/workspaces" --sync "$sync" >&2 || refused=1
  "$espalier" plan --repo . --base "$base" --head "$head" --sync "$sync" -o markdown || refused=1
done
exit "$refused"
