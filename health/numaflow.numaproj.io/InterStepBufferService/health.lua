return numa()
