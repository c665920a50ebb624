# What the commands of a page are run after, in one shell with them.
# CHECKOUT is this repository, REPOSITORY and ORIGIN an empty one on a Git server, the
# latter with a password in it, ARM_FLAGS point at what plays Azure.
set -euo pipefail

# A target is looked for and its recipe expanded, but nothing is built: most take
# minutes, and some run this test.
make() { command make --dry-run "$@" > /dev/null; }

# kubectl has Kustomize in it.
kustomize() { [[ $1 == build ]] && kubectl kustomize "$2"; }

# checkout makes this folder a clone of Espalier.
checkout() {
  git -C "$CHECKOUT" ls-files -z --cached --others --exclude-standard |
    tar -C "$CHECKOUT" --null --files-from - --ignore-failed-read -cf - 2> /dev/null | tar -xf -
  ln -sfn "$CHECKOUT/bin" bin
}

# sample makes a folder and goes there: the sample repository, without the clusters that
# are named behind the folder, with a change on the branch feature, which is checked out.
sample() {
  git init --quiet -b main "$1"
  cd "$1"
  espalier init . > /dev/null 2>&1
  shift
  for cluster; do rm -r "clusters/$cluster"; done
  git add .
  git commit --quiet -m "models: begin"
  git checkout --quiet -b feature
  sed -i 's/replicas: 2/replicas: 3/; s/maxUSDPerHour: "16"/maxUSDPerHour: "20"/' clusters/production/workspaces/phi-4-mini/production.yaml
  git commit --quiet -am "models: one more copy"
}

# eventually waits for a command to succeed, a minute at most.
eventually() {
  for _ in {1..300}; do
    if "$@" > /dev/null 2>&1; then return; fi
    sleep 0.2
  done
  "$@"
}
