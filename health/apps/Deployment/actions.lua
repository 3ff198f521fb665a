return actions{
  restart = restart,
  pause = {disabled = spec.paused == true, run = function() set("paused", true) end},
  resume = {disabled = spec.paused ~= true, run = function() set("paused", nil) end},
  scale = scale,
}
