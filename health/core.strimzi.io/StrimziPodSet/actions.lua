return actions{["rolling-update"] = function() annotate("strimzi.io/manual-rolling-update", "true") end}
