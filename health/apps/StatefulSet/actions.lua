return actions{restart = restart, scale = scale}
