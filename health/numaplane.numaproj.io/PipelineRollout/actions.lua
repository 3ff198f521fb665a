local allowed = annotation("numaplane.numaproj.io/allow-data-loss") == "true"
return actions(numa({"spec", "pipeline"}, {
  ["allow-data-loss"] = {disabled = allowed, run = function() annotate("numaplane.numaproj.io/allow-data-loss", "true") end},
  ["disallow-data-loss"] = {disabled = not allowed, run = function()
    if allowed then annotate("numaplane.numaproj.io/allow-data-loss", nil) end
  end},
}))
