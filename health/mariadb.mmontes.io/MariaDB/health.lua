if no_conditions() then return waiting() end
if spec.suspend == true then return suspended("MariaDB is suspended") end
for _, c in items(status.conditions) do
  if c.status == "False" then
    if c.reason == "Failed" then return degraded(words(c)) end
    return progressing(words(c))
  end
end
return healthy()
