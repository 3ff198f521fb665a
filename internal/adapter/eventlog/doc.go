// Package eventlog writes Kubernetes events without standing in the way of
// what they tell of.
//
// Each event is a write to the hub. A commit that moves a thousand
// Applications makes several thousand of them within a minute, and the API
// server would spend on them what the syncs themselves need. So events go
// through a [Sink] that lets a few pass at once and the rest at a steady rate,
// warnings first. Events carry the time at which something happened, so a
// late one still tells the truth.
package eventlog
