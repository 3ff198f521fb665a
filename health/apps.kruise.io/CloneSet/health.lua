if next(status) == nil then return waiting() end
return kruise(spec.replicas or 1, number(status.updatedReplicas), number(status.availableReplicas), number(status.replicas))
