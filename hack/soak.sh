#!/usr/bin/env bash
# Runs the suites that take longer than CI allows, one after the other; says
# what begins, how long each took, and fails at the end when any failed.
set -uo pipefail
cd "$(dirname "$0")/.."
events=${EVENTS:-100000000}
failed=()

part() {
  local name=$1 begin=$SECONDS
  shift
  echo "soak: $name ..."
  if "$@"; then
    echo "soak: $name: passed after $(((SECONDS - begin) / 60)) min $(((SECONDS - begin) % 60)) s"
  else
    failed+=("$name")
    echo "soak: $name: FAILED after $(((SECONDS - begin) / 60)) min $(((SECONDS - begin) % 60)) s"
  fi
}

# A new first seed for each day; it is printed, and SLUICE_ROLLOUT_SEED repeats it.
seed=${SLUICE_ROLLOUT_SEED:-$(date +%Y%m%d)000000}

part "scenarios of rollouts on clusters" go test -tags soak ./test/e2e -v -count=1 -timeout 90m \
  -run 'TestRolloutScenarios|TestTwoLevelBlastRadius|TestCommitAtEachPhase|TestProjectWindowInRollout|TestPrometheusGatesRollout'
part "faults, credentials, nested Applications, renderers without memory" go test -tags soak ./test/e2e -v -count=1 -timeout 90m \
  -run 'TestClusterCredentials|TestSyncFaults|TestNestedApplications|TestRendererOutOfMemory'
part "the record of rollouts, fuzzed" go test ./internal/domain/rollout -fuzz FuzzRecord -fuzztime 60s
part "$events random events from seed $seed" env SLUICE_ROLLOUT_EVENTS="$events" SLUICE_ROLLOUT_SEED="$seed" \
  go test ./test/scenario -v -run 'TestRandom$' -timeout 12h
part "end-to-end tests, five times" go test ./test/e2e -count=5 -timeout 150m

if [ ${#failed[@]} -gt 0 ]; then
  printf 'soak: failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "soak: all parts passed"
