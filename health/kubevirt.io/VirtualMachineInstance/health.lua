local r = condition("Ready")
if status.phase == "Running" then
  if r.status == "False" then return progressing(words(r)) end
  return healthy("Running")
end
return by(status.phase, {Failed = degraded, Pending = progressing, Scheduling = progressing, Scheduled = progressing, Succeeded = suspended}, nil, unknown)
