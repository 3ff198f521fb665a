-- Functions for the action scripts in the folders beside this file. A script
-- ends with: return actions{name = function or {disabled=, params=, run=}}.
-- Each function changes obj, or returns a list of operations.
status, spec, metadata = obj.status or {}, obj.spec or {}, obj.metadata or {}
local os = require("os")

function now() return os.date("!%Y-%m-%dT%H:%M:%SZ") end
function stamp() return os.date("!%y%m%d%H%M") end
function unix() return tostring(os.time()) end

-- annotation reads, annotate writes or with nil removes.
function annotation(key) return (metadata.annotations or {})[key] end
function annotate(key, value)
  metadata.annotations = metadata.annotations or {}
  metadata.annotations[key] = value
  obj.metadata = metadata
end

-- set and report write a field of the spec or the status.
function set(key, value)
  spec[key] = value
  obj.spec = spec
end
function report(key, value)
  status[key] = value
  obj.status = status
end

-- restart changes the pod template, so that every pod is replaced.
function restart()
  spec.template = spec.template or {}
  local meta = spec.template.metadata or {}
  meta.annotations = meta.annotations or {}
  meta.annotations["kubectl.kubernetes.io/restartedAt"] = now()
  spec.template.metadata = meta
  obj.spec = spec
end

-- replicas reads the parameter of that name: a whole number, not negative.
function replicas()
  local n = tonumber(actionParams.replicas)
  if n == nil or n < 0 or n % 1 ~= 0 or n > 2147483647 then
    error("parameter replicas: want a whole number from 0, for example 3", 0)
  end
  return n
end

scale = {params = {{name = "replicas"}}, run = function() set("replicas", replicas()) end}

-- owner refers to obj from an object made by an action.
function owner()
  return {apiVersion = obj.apiVersion, kind = obj.kind, name = metadata.name, uid = metadata.uid, blockOwnerDeletion = true, controller = true}
end

-- Flux kinds: reconcile at once, suspend, resume.
function flux(with_reconcile)
  local list = {
    suspend = {disabled = spec.suspend == true, run = function() set("suspend", true) end},
    resume = {disabled = spec.suspend ~= true, run = function() set("suspend", nil) end},
  }
  if with_reconcile then list.reconcile = function() annotate("reconcile.fluxcd.io/requestedAt", now()) end end
  return actions(list)
end

-- force_sync is the action of External Secrets Operator kinds; a refresh
-- interval of 0 means that they never sync again.
function force_sync()
  local never = {["0"] = true, ["0s"] = true, ["0m"] = true, ["0h"] = true, ["0h0m0s"] = true}
  return {disabled = never[spec.refreshInterval] == true, run = function() annotate("force-sync", unix()) end}
end

-- field gives the table below obj at a path, and makes what is missing.
function field(path)
  local t = obj
  for _, key in ipairs(path) do
    t[key] = t[key] or {}
    t = t[key]
  end
  return t
end

-- numa adds to a list what pauses and resumes the pipeline or vertex of
-- Numaflow that is described at a path (none is the object itself).
function numa(path, list)
  local function below(...)
    local out = {}
    for _, key in ipairs(path) do out[#out + 1] = key end
    for _, key in ipairs({...}) do out[#out + 1] = key end
    return out
  end
  local t = obj
  for _, key in ipairs(below("spec", "lifecycle")) do t = (t or {})[key] end
  local paused = (t or {}).desiredPhase == "Paused"
  local function unpause(strategy)
    return {disabled = not paused, run = function()
      field(below("spec", "lifecycle")).desiredPhase = "Running"
      field(below("metadata", "annotations"))["numaflow.numaproj.io/resume-strategy"] = strategy
    end}
  end
  list.pause = {disabled = paused, run = function() field(below("spec", "lifecycle")).desiredPhase = "Paused" end}
  list["unpause-fast"], list["unpause-gradual"] = unpause("fast"), unpause("slow")
  return list
end

-- force_promote ends the trial of a new version with success (Numaplane).
function force_promote()
  local labels = metadata.labels or {}
  local state = labels["numaplane.numaproj.io/upgrade-state"]
  local trial = (state == "in-progress" or state == "trial") and labels["numaplane.numaproj.io/force-promote"] == nil
  return {disabled = not trial, run = function() field{"metadata", "labels"}["numaplane.numaproj.io/force-promote"] = "true" end}
end

function actions(list)
  if actionName ~= "?" then
    local a = list[actionName]
    if type(a) == "table" then a = a.run end
    return a() or obj
  end
  local out = {}
  for name, a in pairs(list) do
    out[name] = {}
    if type(a) == "table" then
      out[name] = {disabled = a.disabled == true or nil, displayName = a.displayName, params = a.params}
    end
  end
  return out
end
