return route(true)
