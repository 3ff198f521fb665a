return crossplane_object()
