return flux(true)
