package probe

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"bothways/internal/kernel/netnstest"
)

// Addresses of the world. The target addresses are behind both wires; the main table goes by the wrong one.
const (
	ourAddr  = "192.0.2.1"
	ourAddr6 = "2001:db8::1"
	hop      = "192.0.2.2"
	alive    = "198.18.53.1"
	alive6   = "2001:db8:53::1"
	silent   = "198.18.53.9" // takes packets, says nothing
	mark     = 0x3
)

// world has our namespace with two wires: "right" is the link that is probed, "wrong" where the main table leads.
type world struct {
	t                *testing.T
	ours, far, wrong string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	netnstest.Need(t, "nft", "nftables")
	names := netnstest.Add(t, 3)
	w := &world{t, names[0], names[1], names[2]}
	w.ip(w.ours, "link add wrong type veth peer name wire netns "+w.wrong)
	w.ip(w.ours, "addr add 203.0.113.1/30 dev wrong")
	w.ip(w.ours, "link set wrong up")
	w.ip(w.wrong, "addr add 203.0.113.2/30 dev wire")
	w.ip(w.wrong, "link set wire up")
	w.ip(w.ours, "route add default via 203.0.113.2")
	w.ip(w.ours, "rule add fwmark 3 table 100")
	w.ip(w.ours, "-6 rule add fwmark 3 table 100")
	w.wire()
	for _, ns := range []string{w.far, w.wrong} {
		for _, a := range []string{alive, silent} {
			w.ip(ns, "addr add "+a+"/32 dev lo")
		}
		w.ip(ns, "addr add "+alive6+"/128 dev lo")
		w.nft(ns, "add table inet t; add chain inet t in { type filter hook input priority 0; }; add counter inet t probes")
		w.nft(ns, "add rule inet t in ip daddr 198.18.53.0/24 counter name probes")
		w.nft(ns, "add rule inet t in ip daddr "+silent+" drop")
	}
	return w
}

// wire makes the link that is probed.
func (w *world) wire() {
	w.ip(w.ours, "link add right type veth peer name wire netns "+w.far)
	w.ip(w.ours, "addr add "+ourAddr+"/30 dev right")
	w.ip(w.ours, "addr add "+ourAddr6+"/64 dev right nodad")
	w.ip(w.far, "addr add "+hop+"/30 dev wire")
	w.ip(w.far, "addr add 2001:db8::2/64 dev wire nodad")
	w.ip(w.far, "link set wire up")
	w.ip(w.ours, "link set right up")
	w.ip(w.ours, "route add default via "+hop+" dev right table 100")
	w.ip(w.ours, "-6 route add default via 2001:db8::2 dev right table 100")
}

func (w *world) run(args ...string) string {
	w.t.Helper()
	return netnstest.Run(w.t, args...)
}

func (w *world) ip(ns, args string) {
	w.t.Helper()
	w.run(append([]string{"ip", "-n", ns}, strings.Fields(args)...)...)
}

func (w *world) nft(ns string, args ...string) string {
	w.t.Helper()
	return w.run(append([]string{"ip", "netns", "exec", ns, "nft"}, args...)...)
}

// listen opens a TCP listener in the far namespace.
func (w *world) listen(address string) net.Listener {
	w.t.Helper()
	var l net.Listener
	var err error
	netnstest.Within(w.far, func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	return l
}

// serve is a web server that answers a status.
func (w *world) serve(address string, status int) {
	w.t.Helper()
	s := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) })}
	go s.Serve(w.listen(address))
	w.t.Cleanup(func() { s.Close() })
}

// resolve is a name server that says what reply makes of a query.
func (w *world) resolve(address string, reply func(q []byte) []byte) {
	w.t.Helper()
	var c net.PacketConn
	var err error
	netnstest.Within(w.far, func() { c, err = net.ListenPacket("udp", address) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(reply(b[:n]), from)
		}
	}()
}

// refused is an answer that is well-formed and no more.
func refused(q []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(q) != nil {
		return nil
	}
	m.Response, m.RCode = true, dnsmessage.RCodeRefused
	b, _ := m.Pack()
	return b
}

// probing is a prober in our namespace, and what it said.
type probing struct {
	*Prober
	t   *testing.T
	mu  sync.Mutex // guards got
	got []Result
}

func (w *world) probe(list ...Config) *probing {
	w.t.Helper()
	p := &probing{t: w.t}
	p.Prober = New(nil, func(r Result) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.got = append(p.got, r)
	})
	p.within = func(f func()) { netnstest.Within(w.ours, f) }
	if err := p.Set(list); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
	return p
}

func (p *probing) all() []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Result(nil), p.got...)
}

// of waits for n results of a target, and returns all that there are.
func (p *probing) of(t Target, n int) []Result {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var got []Result
		for _, r := range p.all() {
			if r.Target == t {
				got = append(got, r)
			}
		}
		if len(got) >= n {
			return got
		}
		if time.Now().After(end) {
			p.t.Fatalf("%v: %d results in 20 s, want %d", t, len(got), n)
		}
	}
}

// says waits until the last result of a target is this.
func (p *probing) says(t Target, want string) {
	p.t.Helper()
	got := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, r := range p.Last() {
			if r.Target == t {
				if got = r.Why; r.OK {
					got = "ok"
				}
			}
		}
		if got == want {
			return
		}
	}
	p.t.Fatalf("%v: %q, want %q", t, got, want)
}

// config probes these targets by the right link.
func config(every time.Duration, targets ...Target) Config {
	return Config{Link: "isp-a/main", Interface: "right", Source4: addr(ourAddr), Source6: addr(ourAddr6), Mark: mark, Every: every, Targets: targets}
}
