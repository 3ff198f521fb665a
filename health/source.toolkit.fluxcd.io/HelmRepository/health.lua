if spec.type == "oci" then return healthy("An OCI repository has no index") end
return flux_source()
