#!/usr/bin/env bash
# Judges a change for every cluster: first what is wrong with it, by file and
# line, then what it would change, cost and interrupt, as Markdown. Exits with 1
# when something is refused and 2 when it cannot be judged. It reaches no cluster
# and needs no secret.
#
#     BASE=origin/main HEAD=HEAD bash ci/espalier.sh
#
# BASE and HEAD are revisions; what is not committed is validated and not planned.
# ESPALIER is the program, by default the one in PATH.
set -euo pipefail

espalier=${ESPALIER:-espalier}
command -v "$espalier" > /dev/null ||
  { echo "$espalier is not there: name the program with ESPALIER, or build it with ci/get-espalier.sh" >&2; exit 2; }

# This folder may lie within a larger repository: paths are from its root.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$(git rev-parse --show-prefix)
cd "$(git rev-parse --show-toplevel)"

head=$(git rev-parse --verify --quiet "${HEAD:-HEAD}^{commit}") ||
  { echo "HEAD: there is no revision ${HEAD:-HEAD} here: fetch it" >&2; exit 2; }
base=$(git merge-base "${BASE:-origin/main}" "$head" 2> /dev/null) ||
  { echo "BASE: ${BASE:-origin/main} and $head have no commit in common here: fetch both, with their history" >&2; exit 2; }

worst=0
judge() {
  local code=0
  "$espalier" "$@" || code=$?
  worst=$((code > worst ? code : worst))
}
for sync in "${folder}"clusters/*/reposync.yaml; do
  cluster=$(dirname "$sync")
  echo "== $cluster" >&2
  judge validate "$cluster/workspaces" --sync "$sync" >&2
  printf '## `%s`\n\n' "$cluster"
  judge plan --repo . --base "$base" --head "$head" --sync "$sync" -o markdown
done
exit "$worst"
