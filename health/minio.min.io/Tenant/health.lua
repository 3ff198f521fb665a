local faults = {
  ["Another MinIO Tenant already exists in the namespace"] = degraded, ["Different versions across MinIO Pools"] = degraded,
  ["Pool Decommissioning Not Allowed"] = degraded, ["Pool Decommissioned"] = degraded, ["Tenant credentials are not set properly"] = degraded,
  ["Statefulset not controlled by operator"] = degraded, ["Failed"] = degraded,
}
faults.Initialized = healthy
return by(status.currentState, faults)
