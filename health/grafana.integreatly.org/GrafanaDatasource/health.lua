if status.NoMatchingInstances == true or is("NoMatchingInstances") then return degraded("No Grafana matches the selector") end
if status.uid == nil or status.uid == "" then return waiting("the uid of the data source") end
return healthy()
