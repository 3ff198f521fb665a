#!/bin/bash
# Every command of the seeds that concerns the command line, as printed there,
# against a real fleet. The world around it is made by TestSeedCommands:
#   SERVER     address of the API          REPO   URL of the Git repository
#   KUBECONFIG with contexts hub, staging-cluster and production-cluster
#   commit TEXT commits a version of my-app and prints the commit
set -euo pipefail

step() { echo "== $*"; }
fails() { # fails CODE COMMAND...: the command must end with this exit code
  local want=$1 got=0
  shift
  "$@" || got=$?
  [ "$got" = "$want" ] || { echo "exit code $got, want $want: $*"; exit 1; }
}
has() { grep -qE -- "$1" <<<"$2" || { echo "no match for $1 in:"; echo "$2"; exit 1; }; }

step E5: the first password, and login
PASSWORD=$(kubectl -n argocd get secret argocd-initial-admin-secret -o jsonpath='{.data.password}' | base64 -d)
argocd login "$SERVER" --plaintext --username admin --password "$PASSWORD"

step D2, D3: argocd cluster add
argocd cluster add staging-cluster --name staging --label env=staging --label region=ap-northeast-2
argocd cluster add production-cluster --name production --label env=production --label region=ap-northeast-2
SECRET=$(kubectl -n argocd get secrets -l argocd.argoproj.io/secret-type=cluster,env=production,region=ap-northeast-2 -o jsonpath='{.items[0].data.name}' | base64 -d)
[ "$SECRET" = production ]
argocd cluster add production-cluster --name production --label env=production --label region=ap-northeast-2 # again is harmless

step D4: argocd cluster list
OUT=$(argocd cluster list)
has '^SERVER +NAME +VERSION +STATUS +MESSAGE +PROJECT' "$OUT"
has 'staging' "$OUT"
has 'production' "$OUT"

step an application with automated sync, as in the second seed
FIRST=$(commit v0)
argocd app create my-app --repo "$REPO" --path my-app --revision main --dest-name staging --dest-namespace my-app \
  --sync-policy automated --auto-prune --sync-option CreateNamespace=true
step D9: argocd app wait --health
argocd app wait my-app --sync --health --operation --timeout 120
argocd app wait my-app --health
step D8: argocd app get
OUT=$(argocd app get my-app)
has '^Name: +argocd/my-app' "$OUT"
has '^Sync Policy: +Automated \(Prune\)' "$OUT"
has '^Sync Status: +Synced to main \('"${FIRST:0:7}"'\)' "$OUT"
has '^Health Status: +Healthy' "$OUT"
has '^apps +Deployment +my-app +my-app +Synced +Healthy' "$OUT"
step D11: argocd app get --show-operation
OUT=$(argocd app get my-app --show-operation)
has '^Phase: +Succeeded' "$OUT"
has "^Sync Revision: +$FIRST" "$OUT"

step D10: argocd app diff
fails 0 argocd app diff my-app
kubectl --context staging-cluster -n my-app scale deployment my-app --replicas=1
for _ in $(seq 60); do
  [ "$(argocd app get my-app --refresh -o json | grep -c '"status": "OutOfSync"')" -gt 0 ] && break
done
OUT=$(fails 1 argocd app diff my-app)
has '===== apps/Deployment my-app/my-app ======' "$OUT"
has '^<   replicas: 1$' "$OUT"
has '^>   replicas: 2$' "$OUT"
fails 20 argocd app diff no-such-app
fails 2 argocd app diff

step D1: argocd app sync
argocd app sync my-app
fails 0 argocd app diff my-app

step D5: argocd app history
OUT=$(argocd app history my-app)
has '^ID +DATE +REVISION' "$OUT"
has '^0 ' "$OUT"

step D5: of six deployments
for i in 1 2 3 4 5 6; do
  REVISION=$(commit "v$i")
  argocd app sync my-app --revision "$REVISION" >/dev/null
done
OUT=$(argocd app history my-app)
has '^ID +DATE +REVISION' "$OUT"
has '^5 ' "$OUT"
FIFTH=$(argocd app get my-app -o json | python3 -c 'import json,sys; print(next(h["revision"] for h in json.load(sys.stdin)["status"]["history"] if h["id"] == 5))')

step D6: argocd app rollback my-app 5, with automated sync on
argocd app rollback my-app 5
OUT=$(argocd app get my-app --show-operation)
has "^Sync Revision: +$FIFTH" "$OUT"
has '^Phase: +Succeeded' "$OUT"
has '^Held: ' "$OUT"

step D7: argocd app sync my-app --revision
argocd app sync my-app --revision "${FIRST:0:12}"
OUT=$(argocd app get my-app --show-operation)
has "^Sync Revision: +$FIRST" "$OUT"
has "^Held: +at ${FIRST:0:7} by admin: ManualOverride, instead of ${REVISION:0:7}" "$OUT"

step what is held stays until it is released
OUT=$(argocd app get my-app --refresh)
has '^Sync Status: +OutOfSync from main' "$OUT"
has "^Held: +at ${FIRST:0:7} " "$OUT"
argocd app resume my-app
argocd app wait my-app --sync --health --operation --timeout 120
OUT=$(argocd app get my-app)
has '^Sync Status: +Synced to main \('"${REVISION:0:7}"'\)' "$OUT"
if grep '^Held: ' <<<"$OUT"; then echo "still held after the release"; exit 1; fi

step the answers for people
argocd app explain my-app
argocd app resources my-app
argocd app get my-app -o tree
OUT=$(argocd app list)
has '^argocd/my-app +staging +my-app +default ' "$OUT"
argocd app delete my-app -y --wait
fails 20 argocd app get my-app
argocd cluster rm staging
argocd logout "$SERVER"
fails 20 argocd app list
echo "all commands of the seeds ran as printed"
