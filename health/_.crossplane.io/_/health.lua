local users = obj.kind == "ProviderConfig" and status.users
if users and number(users) > 0 then return healthy("Used by " .. users .. " resources") end
return crossplane({"Ready", "Healthy", "Offered", "Established", "ValidPipeline", "RevisionHealthy"})
