local reason = status.phaseReason
if (metadata.annotations or {})["cnpg.io/reconciliationLoop"] == "disabled" then return suspended("The reconciliation loop is disabled") end
local sleep = condition("cnpg.io/hibernation")
if sleep.status == "True" then return suspended(words(sleep)) end
if sleep.status ~= nil then return degraded(words(sleep)) end
if no_conditions() then return waiting() end
return by(status.phase, {
  ["Cluster in healthy state"] = healthy,
  ["Setting up primary"] = progressing, ["Creating a new replica"] = progressing, ["Upgrading cluster"] = progressing,
  ["Waiting for the instances to become active"] = progressing, ["Promoting to primary cluster"] = progressing,
  ["Switchover in progress"] = degraded, ["Failing over"] = degraded, ["Upgrading Postgres major version"] = degraded,
  ["Cluster upgrade delayed"] = degraded, ["Waiting for user action"] = degraded,
  ["Primary instance is being restarted in-place"] = degraded, ["Primary instance is being restarted without a switchover"] = degraded,
  ["Online upgrade in progress"] = degraded, ["Online upgrade not possible"] = degraded,
  ["Cluster cannot execute instance online upgrade due to missing architecture binary"] = degraded, ["Applying configuration"] = degraded,
  ["Unable to create required cluster objects"] = suspended, ["Cluster cannot proceed to reconciliation due to an unknown plugin being required"] = suspended,
  ["Cluster has incomplete or invalid image catalog"] = suspended, ["Cluster is in an unrecoverable state, needs manual intervention"] = suspended,
}, reason or "", unknown)
