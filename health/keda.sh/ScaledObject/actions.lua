local paused = annotation("autoscaling.keda.sh/paused") == "true" or annotation("autoscaling.keda.sh/paused-replicas") ~= nil
return actions{
  pause = {disabled = paused, run = function() annotate("autoscaling.keda.sh/paused", "true") end},
  resume = {disabled = not paused, run = function()
    if not paused then return end
    annotate("autoscaling.keda.sh/paused", nil)
    annotate("autoscaling.keda.sh/paused-replicas", nil)
  end},
  ["paused-replicas"] = {params = {{name = "replicas"}}, run = function()
    annotate("autoscaling.keda.sh/paused-replicas", tostring(replicas()))
  end},
}
