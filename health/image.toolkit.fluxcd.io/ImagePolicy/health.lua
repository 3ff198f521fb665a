return flux_image({NewGeneration = true, AccessingRepository = true, ApplyingPolicy = true})
