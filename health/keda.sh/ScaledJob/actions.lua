local paused = annotation("autoscaling.keda.sh/paused") == "true"
return actions{
  pause = {disabled = paused, run = function() annotate("autoscaling.keda.sh/paused", "true") end},
  resume = {disabled = not paused, run = function()
    if paused then annotate("autoscaling.keda.sh/paused", nil) end
  end},
}
