return actions{
  pause = {disabled = spec.pause == true, run = function() set("pause", true) end},
  unpause = {disabled = spec.pause ~= true, run = function() set("pause", false) end},
}
