if spec.suspend == true then return suspended("Scanning is suspended") end
return flux_image({NewGeneration = true, Scanning = true})
