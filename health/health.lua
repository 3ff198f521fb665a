-- Functions for the health scripts in the folders beside this file. A script
-- sees obj, and status, spec, metadata as tables that are never nil.
status, spec, metadata = obj.status or {}, obj.spec or {}, obj.metadata or {}

local function result(code)
  return function(message) return {status = code, message = message or ""} end
end
healthy, progressing, degraded = result("Healthy"), result("Progressing"), result("Degraded")
suspended, unknown, missing = result("Suspended"), result("Unknown"), result("Missing")

-- items walks a list that may be absent.
function items(list)
  if type(list) ~= "table" then return ipairs({}) end
  return ipairs(list)
end

-- find gives the entry of a list of conditions with that type, or an empty table.
function find(list, name)
  for _, c in items(list) do
    if type(c) == "table" and c.type == name then return c end
  end
  return {}
end

function condition(name) return find(status.conditions, name) end
function is(name, value) return condition(name).status == (value or "True") end
function no_conditions() return type(status.conditions) ~= "table" or next(status.conditions) == nil end

-- words is what a condition says.
function words(c)
  if c.message ~= nil and c.message ~= "" then return c.message end
  return c.reason or ""
end

function waiting(what) return progressing("Waiting for " .. (what or "the status of the " .. obj.kind)) end

-- stale says that the controller has not seen the newest generation.
function stale()
  local seen = tonumber(status.observedGeneration)
  return seen ~= nil and metadata.generation ~= nil and seen < metadata.generation
end

-- ready is the usual rule: True healthy, False degraded, else progressing.
function ready(name)
  local c = condition(name or "Ready")
  if c.status == "True" then return healthy(c.message) end
  if c.status == "False" then return degraded(words(c)) end
  if c.status ~= nil then return progressing(words(c)) end
  return waiting()
end

-- ready_current is ready, once the newest generation has been seen.
function ready_current(name)
  if stale() then return waiting("the newest generation to be observed") end
  return ready(name)
end

-- by looks a value up in a table of results; message is said with it.
function by(value, table, message, otherwise)
  if value == nil or value == "" then return waiting() end
  return (table[value] or otherwise or progressing)(message or value)
end

-- crossplane_object is the rule of managed resources with Ready and Synced.
function crossplane_object()
  if no_conditions() then return waiting() end
  local r, s = condition("Ready"), condition("Synced")
  if s.status == "False" and s.reason == "ReconcilePaused" then return suspended(words(s)) end
  if r.status == "True" and s.status == "True" then return healthy(words(r)) end
  if r.status == "False" and s.status == "True" then return progressing(words(r)) end
  if s.status == "False" then return degraded(words(s)) end
  return degraded(words(r))
end

-- crossplane judges any kind of a provider; good are the conditions that count.
function crossplane(good)
  local quiet = {
    Composition = 1, CompositionRevision = 1, DeploymentRuntimeConfig = 1, ControllerConfig = 1,
    ProviderConfig = 1, ClusterProviderConfig = 1, ProviderConfigUsage = 1,
  }
  if no_conditions() then
    if quiet[obj.kind] then return healthy("The kind has no status") end
    return waiting()
  end
  for _, name in ipairs({"LastAsyncOperation", "Synced"}) do
    if is(name, "False") then return degraded(words(condition(name))) end
  end
  for _, name in ipairs(good) do
    if is(name) then return healthy(words(condition(name))) end
  end
  return progressing(words(condition("Ready")))
end

-- flux_source is the rule of Flux kinds that keep an artifact.
function flux_source()
  if spec.suspend == true then return suspended("Reconciliation is suspended") end
  if no_conditions() then return waiting() end
  local r = condition("Ready")
  if r.status == "True" and is("ArtifactInStorage") then return healthy(r.message) end
  if r.status == "Unknown" and is("Reconciling") then return progressing(words(r)) end
  return degraded(words(r))
end

-- flux_busy is the rule of Flux kinds that say Unknown while they work.
function flux_busy()
  if spec.suspend == true then return suspended("Reconciliation is suspended") end
  if no_conditions() then return progressing("Status unknown") end
  local r = condition("Ready")
  if r.status == "Unknown" and is("Reconciling") then return progressing(r.reason) end
  if r.status == "True" then return healthy(r.reason) end
  return degraded(r.reason)
end

-- flux_image is the rule of Flux kinds that are not ready while they work for
-- one of the reasons.
function flux_image(reasons)
  if no_conditions() then return waiting() end
  local r, busy = condition("Ready"), condition("Reconciling")
  if r.status == "False" and busy.status == "True" and reasons[busy.reason] then return progressing(words(busy)) end
  if r.status == "True" then return healthy(r.message) end
  return degraded(words(r))
end

-- strimzi is the rule of Kafka kinds; excuse is a reason not to be ready yet.
function strimzi(excuse)
  local bad, good = condition("NotReady"), condition("Ready")
  if bad.status == "True" and (excuse == nil or bad.reason ~= excuse) then return degraded(words(bad)) end
  if good.status == "True" then return healthy(good.message) end
  if bad.status == "True" then return progressing(words(bad)) end
  return waiting()
end

-- numbers a controller has not written yet are 0.
function number(v) return tonumber(v) or 0 end

-- route judges the parents of a route of the Gateway API.
function route(current_only)
  local judged = false
  for _, parent in items(status.parents) do
    local seen = false
    for _, name in ipairs({"ResolvedRefs", "Accepted"}) do
      local c = find(parent.conditions, name)
      local old = current_only and c.observedGeneration ~= nil and c.observedGeneration ~= metadata.generation
      if c.status ~= nil and not old then
        seen = true
        if c.status == "False" then return degraded(words(c)) end
      end
    end
    local c = find(parent.conditions, "Programmed")
    if c.status ~= nil and c.status ~= "True" then return progressing(words(c)) end
    judged = judged or seen
  end
  if judged then return healthy("The parents accept the route") end
  return waiting()
end

-- colour judges kinds of Elastic by the colour of their health.
function colour(value)
  return by(value, {green = healthy, yellow = progressing, red = degraded}, "health is " .. tostring(value), unknown)
end

-- solo judges the kinds of Gloo, whose states are numbers in old versions.
function solo(s)
  local states = {Accepted = healthy, ["1"] = healthy, Warning = degraded, ["3"] = degraded,
    Rejected = degraded, ["2"] = degraded, Pending = suspended, ["0"] = suspended}
  s = s or status
  if s.state == nil then
    for _, reported in pairs(s.statuses or {}) do s = reported end
  end
  return by(s.state and tostring(s.state), states, s.reason, progressing)
end

-- kruise judges workloads by their replicas.
function kruise(want, updated, available, all)
  if stale() then return waiting("the newest generation to be observed") end
  local strategy = spec.updateStrategy or {}
  local rolling = strategy.rollingUpdate or strategy
  if strategy.paused == true or rolling.paused == true or spec.paused == true then return suspended(obj.kind .. " is paused") end
  if rolling.partition ~= nil and number(rolling.partition) > 0 and updated >= want - number(rolling.partition) then
    return suspended("The update stops at partition " .. tostring(rolling.partition))
  end
  if updated < want then return progressing(updated .. " of " .. want .. " replicas are updated") end
  if all ~= nil and all > updated then return progressing((all - updated) .. " old replicas are left") end
  if available < want then
    if available == 0 then return degraded("No replica is available") end
    return progressing(available .. " of " .. want .. " replicas are available")
  end
  return healthy("All replicas are updated and available")
end

-- failing finds a false condition among names.
function failing(names)
  for _, name in ipairs(names) do
    if is(name, "False") then return condition(name) end
  end
end

-- operator judges kinds of OpenShift by Degraded, Progressing, Available.
function operator()
  if no_conditions() then return waiting() end
  if is("Degraded") then return degraded(words(condition("Degraded"))) end
  if is("Progressing") then return progressing(words(condition("Progressing"))) end
  local a = condition("Available")
  if a.status == "False" then return degraded(words(a)) end
  if a.status == "True" then return healthy(a.message) end
  return waiting()
end

-- rabbit judges the objects of the RabbitMQ topology operator.
function rabbit()
  local c = condition("Ready")
  if c.status == "True" and c.reason == "SuccessfulCreateOrUpdate" then return healthy(c.message) end
  if c.status == "False" and c.reason == "FailedCreateOrUpdate" then return degraded(words(c)) end
  if c.status == nil then return waiting() end
  return unknown(words(c))
end

-- numa judges kinds of Numaflow and Numaplane.
function numa()
  if stale() then return waiting("the newest generation to be observed") end
  local p = status.progressiveStatus or {}
  local upgrade = p.upgradingPipelineStatus or p.upgradingMonoVertexStatus or {}
  if upgrade.assessmentResult == "Failure" then return degraded("The progressive upgrade failed") end
  return by(status.phase, {Running = healthy, Succeeded = healthy, Deployed = healthy, Paused = healthy, Failed = degraded}, status.message or status.phase)
end
