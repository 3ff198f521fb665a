return strimzi("Creating")
