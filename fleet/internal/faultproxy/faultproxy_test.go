package faultproxy

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo answers every connection with its own bytes.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// talk sends a text through the proxy and returns what came back in time.
func talk(t *testing.T, p *Proxy, text string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	buf := make([]byte, len(text))
	n, err := io.ReadFull(c, buf)
	return string(buf[:n]), err
}

func TestFaults(t *testing.T) {
	t.Parallel()
	p, err := Start(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got, err := talk(t, p, "hello"); got != "hello" || err != nil {
		t.Errorf("without fault: %q, %v", got, err)
	}
	for text, want := range map[string]string{"blackhole": "", "reset": "", "truncate=2": "he"} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Set(f)
		if got, err := talk(t, p, "hello"); got != want || err == nil {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	f, err := Parse("latency=120ms")
	if err != nil {
		t.Fatal(err)
	}
	p.Set(f)
	begin := time.Now()
	if got, err := talk(t, p, "hello"); got != "hello" || err != nil || time.Since(begin) < 120*time.Millisecond {
		t.Errorf("latency: %q, %v after %s", got, err, time.Since(begin))
	}
	if _, err := Parse("fire"); err == nil {
		t.Error("an unknown fault is accepted")
	}
}
