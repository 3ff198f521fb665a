for _, d in items(status.domainStatus) do
  if d.status == "FailedNotVisible" then return degraded(d.domain .. " does not point here") end
end
return by(status.certificateStatus, {Active = healthy})
