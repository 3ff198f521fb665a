if spec.paused == true then return suspended("MachineDeployment is paused") end
return by(status.phase, {Running = healthy, Failed = degraded, Unknown = unknown})
