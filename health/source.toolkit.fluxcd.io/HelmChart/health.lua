return flux_source()
