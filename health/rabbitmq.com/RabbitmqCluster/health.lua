local ok = condition("ReconcileSuccess")
if ok.status == "False" then return degraded(words(ok)) end
if is("ClusterAvailable") and is("AllReplicasReady") then return healthy() end
if no_conditions() then return waiting() end
for _, name in ipairs({"ClusterAvailable", "AllReplicasReady"}) do
  if not is(name) then return progressing(words(condition(name))) end
end
