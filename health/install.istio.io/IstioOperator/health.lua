local states = {
  HEALTHY = healthy, ["3"] = healthy, ERROR = degraded, ["4"] = degraded, UPDATING = progressing, ["1"] = progressing,
  RECONCILING = progressing, ["2"] = progressing, NONE = unknown, ["0"] = unknown, ACTION_REQUIRED = suspended, ["5"] = suspended,
}
return by(status.status and tostring(status.status), states, status.message)
