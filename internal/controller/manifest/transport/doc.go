// Package transport lets rendering run in a process of its own, the
// repo-server: a Client is a manifest.Renderer whose Service is elsewhere.
//
//	controllers ── manifest.Renderer ──► Client ══ TLS 1.3, both sides known ══► Handler ──► manifest.Service
//
// Requests and answers are JSON over HTTP/2, one POST each; changes of what a
// source resolves to come as lines of a stream that stays open. No method can
// be called without a certificate of the installation's authority in a role
// that may call; a caller without one does not get past the handshake.
package transport
