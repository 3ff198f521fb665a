return strimzi()
