local available = is("Available")
local replicas = number(spec.replicas) == 0 or condition("Progressing").reason == "NewReplicationControllerAvailable"
if available and replicas then return healthy("The replication controller is available") end
if available or replicas then return progressing("Waiting for the replication controller") end
if no_conditions() then return waiting() end
return degraded(words(condition("Available")))
