return flux_busy()
