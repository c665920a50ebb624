#!/usr/bin/env bash
# Builds espalier from source into the folder DIR, for a CI job. No binary and no
# image of it is published yet.
#
#     ESPALIER_COMMIT=… bash ci/get-espalier.sh DIR
#
# It takes git, and Go 1.26 or an older one that may download it (Go 1.21 on).
set -euo pipefail

to=${1:?the folder to put the program into}
repository=${ESPALIER_REPOSITORY:-https://github.com/espalier-dev/espalier.git}
commit=${ESPALIER_COMMIT:-}
if [[ ! $commit =~ ^[0-9a-f]{40}$ ]]; then
  echo "ESPALIER_COMMIT is not set to a commit of $repository, 40 hexadecimal digits:" >&2
  echo "take the one that your clusters run, so that a change is judged as they will judge it" >&2
  exit 2
fi

mkdir -p "$to"
to=$(cd "$to" && pwd)
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git -C "$source" init --quiet
git -C "$source" fetch --quiet --depth 1 "$repository" "$commit"
git -C "$source" checkout --quiet FETCH_HEAD
cd "$source"
CGO_ENABLED=0 go build -o "$to/espalier" ./cmd/espalier
echo "built $to/espalier from $commit"
