// Package faultproxy is a TCP proxy that can misbehave on request: delay,
// reset, swallow or cut what passes through it.
package faultproxy

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault says how a proxy misbehaves; the zero value is none.
type Fault struct {
	Latency   time.Duration
	Reset     bool
	Blackhole bool
	// Truncate closes a connection after so many bytes of answer; 0 is off.
	Truncate int64
}

// Parse reads a fault: latency=200ms, reset, blackhole, truncate=N or clear,
// several joined by commas.
func Parse(text string) (Fault, error) {
	var f Fault
	for _, part := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		var err error
		switch name {
		case "clear":
			f = Fault{}
		case "reset":
			f.Reset = true
		case "blackhole":
			f.Blackhole = true
		case "latency":
			f.Latency, err = time.ParseDuration(value)
		case "truncate":
			f.Truncate, err = strconv.ParseInt(value, 10, 64)
		default:
			err = fmt.Errorf("unknown fault")
		}
		if err != nil {
			return Fault{}, fmt.Errorf("fault %q: want latency=DURATION, reset, blackhole, truncate=BYTES or clear", part)
		}
	}
	return f, nil
}

// Proxy forwards connections from a loopback port to a target.
type Proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	fault Fault
	open  map[net.Conn]bool
}

// Start listens on a free loopback port.
func Start(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fault proxy: %w", err)
	}
	p := &Proxy{listener: l, target: target, open: map[net.Conn]bool{}}
	go p.accept()
	return p, nil
}

// Address is host:port of the proxy.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Close stops the proxy and its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.cut()
}

// Set changes the fault; reset and blackhole also end open connections' luck.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	p.fault = f
	p.mu.Unlock()
	if f.Reset {
		p.cut()
	}
}

func (p *Proxy) current() Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

func (p *Proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (p *Proxy) track(c net.Conn, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.open[c] = true
		return
	}
	delete(p.open, c)
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(c)
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	p.track(client, true)
	defer p.track(client, false)
	if p.current().Reset {
		if tcp, ok := client.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	go func() { p.pump(server, client, false); done <- struct{}{} }()
	go func() { p.pump(client, server, true); done <- struct{}{} }()
	<-done
}

// pump copies one direction and applies the faults of the moment.
func (p *Proxy) pump(to io.Writer, from io.Reader, answer bool) {
	buf := make([]byte, 32<<10)
	var passed int64
	for {
		n, err := from.Read(buf)
		if n > 0 {
			f := p.current()
			if f.Latency > 0 {
				<-time.After(f.Latency)
			}
			if f.Blackhole {
				continue
			}
			chunk := buf[:n]
			if answer && f.Truncate > 0 && passed+int64(n) > f.Truncate {
				_, _ = to.Write(chunk[:max(0, f.Truncate-passed)])
				return
			}
			passed += int64(n)
			if _, werr := to.Write(chunk); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
