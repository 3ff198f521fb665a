package worker

// CloseOff is what a child does before its first request.
var CloseOff = closeOff
