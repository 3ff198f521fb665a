#!/usr/bin/env bash
# Format, lint, generated code up to date, architecture rules.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/build/tools
mkdir -p "$tools"
fail() { echo "verify: $*" >&2; exit 1; }
step() { echo "verify: $* ..."; }

step format
unformatted=$(gofmt -l api cmd config fleet internal test)
[ -z "$unformatted" ] || fail "not formatted, run gofmt -w on: $unformatted"

step modules
for dir in . fleet hack/tools test/oracle test/dex; do (cd "$dir" && go mod tidy -diff) || fail "go.mod of $dir is not tidy: run go mod tidy there"; done

step vet
go vet ./...
go vet -tags soak ./test/e2e
(cd test/oracle && go vet ./...)
(cd fleet && go vet ./...)

step generated code
(cd hack/tools && go build -o "$tools/controller-gen" sigs.k8s.io/controller-tools/cmd/controller-gen)
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
hack/generate.sh "$fresh"
for f in "$fresh"/crd/*.yaml; do cmp -s "$f" "config/crd/$(basename "$f")" || fail "config/crd/$(basename "$f") is stale: run make generate"; done
cmp -s "$fresh/zz_generated.deepcopy.go" api/v1alpha1/zz_generated.deepcopy.go || fail "deepcopy is stale: run make generate"
go run ./hack/api "$fresh/made"
for f in config/api/swagger.json internal/client/zz_generated_calls.go; do cmp -s "$fresh/made/$f" "$f" || fail "$f is stale: run make generate"; done

step architecture
go test ./internal/archtest

step lint
linter=$tools/golangci-lint-$(cd hack/tools && go list -m -f '{{.Version}}' github.com/golangci/golangci-lint/v2)
if [ ! -x "$linter" ]; then
  echo "verify: building the linter (minutes the first time) ..."
  (cd hack/tools && go build -o "$linter" github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
fi
"$linter" run ./...
"$linter" run --build-tags soak ./test/e2e
echo "verify: ok"
