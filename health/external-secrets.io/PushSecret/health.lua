return ready()
