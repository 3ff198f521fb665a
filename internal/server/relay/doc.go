// Package relay lets a server run apart from the controllers: what it would ask
// of them in its own process it asks over the network.
//
//	server ── application.Engine ───► Client ══ TLS 1.3, both sides known ══► Handler ──► engine.Engine
//	       ── applicationset.Desk ──┘    │                                       │
//	                                     └── Directory ──► Lease ◄── Announce ───┘
//
// A controller that works writes its address to a Lease of the hub; a server
// reads it there, and again when nobody answers at the address it knows. A
// wrong address is harmless: who answers must show a certificate of the
// installation's authority in the role that is asked, and only a server may
// call. Who may see what is decided in the server, before it asks.
//
// Requests and answers are JSON over HTTP/2, one POST each; changes of trees
// come as lines, logs as they are, of answers that stay open. Errors keep the
// codes of package fault. While no controller answers, every method fails with
// fault.Unavailable and says what to look at.
package relay
