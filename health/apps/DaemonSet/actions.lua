return actions{restart = restart}
