local labels = metadata.labels or {}
return actions(numa({}, {
  ["force-promote"] = force_promote(),
  -- Numaplane deletes one that it no longer needs when it is marked so.
  delete = {disabled = labels["numaplane.numaproj.io/upgrade-state"] ~= "recyclable", run = function()
    annotate("numaplane.numaproj.io/marked-for-deletion", "true")
  end},
}))
