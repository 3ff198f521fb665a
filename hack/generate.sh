#!/usr/bin/env bash
# Regenerates deepcopy and custom resource definitions; with a folder as
# argument, into that folder.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/build/tools
mkdir -p "$tools"
[ -x "$tools/controller-gen" ] || (cd hack/tools && go build -o "$tools/controller-gen" sigs.k8s.io/controller-tools/cmd/controller-gen)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$tools/controller-gen" object paths=./api/... output:object:dir="$out"
"$tools/controller-gen" crd:maxDescLen=0,allowDangerousTypes=true,crdVersions=v1 paths=./api/... output:crd:dir="$out/raw"
mkdir -p "$out/crd"
for f in "$out"/raw/argoproj.io_*.yaml; do mv "$f" "$out/crd/${f##*argoproj.io_}"; done
rm -r "$out/raw"
# A number that does not fit into IntOrString would be stored, and then no list
# with it could be read any more. Limits of failures begin at 0.
sed -i 's/^\( *\)x-kubernetes-int-or-string: true$/\1maximum: 2147483647\n\1minimum: -2147483648\n&/' "$out"/crd/*.yaml
sed -i '/^ *\(maxFailures\|failureLimit\|inconclusiveLimit\|consecutiveErrorLimit\):$/,/x-kubernetes-int-or-string/s/minimum: -2147483648$/minimum: 0/' "$out"/crd/applicationsets.yaml
if [ $# -gt 0 ]; then
  cp -r "$out/." "$1/"
else
  cp "$out"/crd/*.yaml config/crd/
  cp "$out/zz_generated.deepcopy.go" api/v1alpha1/
  go run ./hack/api .
fi
