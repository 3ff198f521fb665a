return actions{
  suspend = {disabled = spec.suspend == true, run = function() set("suspend", true) end},
  resume = {disabled = spec.suspend ~= true, run = function() set("suspend", false) end},
}
