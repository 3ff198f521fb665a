return crossplane({"Ready"})
