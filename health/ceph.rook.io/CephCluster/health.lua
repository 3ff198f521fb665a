local h, state = (status.ceph or {}).health, status.state
if state == "Error" then return degraded(status.message) end
if h == "HEALTH_WARN" or h == "HEALTH_ERR" then return degraded(h) end
if h == "HEALTH_OK" and (state == "Created" or state == "Connected") then return healthy(h) end
if state == nil and h == nil then return waiting() end
return progressing(status.message or state)
