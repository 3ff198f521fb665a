return route()
