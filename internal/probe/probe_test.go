package probe

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bothways/internal/track"
)

const ms = time.Millisecond

func icmpTo(a string) Target { return Target{Kind: ICMP, Address: addr(a)} }
func tcpTo(a string, port uint16) Target {
	return Target{Kind: TCP, Address: addr(a), Port: port}
}
func dnsTo(a string) Target { return Target{Kind: DNS, Address: addr(a)} }
func httpTo(a string, port uint16) Target {
	return Target{Kind: HTTP, Address: addr(a), URL: fmt.Sprintf("http://%v/", netip.AddrPortFrom(addr(a), port))}
}
func arpTo(a string) Target { return Target{Kind: ARP, Address: addr(a)} }

// TestAlive: each kind gets its answer, by the link that is meant, though the main table leads elsewhere.
func TestAlive(t *testing.T) {
	w := newWorld(t)
	w.serve(":80", 200)
	w.resolve(alive+":53", refused)
	w.resolve("["+alive6+"]:53", refused)
	seen := make(chan netip.AddrPort, 1000)
	l := w.listen(":443")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			seen <- c.RemoteAddr().(*net.TCPAddr).AddrPort()
			c.Close()
		}
	}()
	targets := []Target{icmpTo(alive), icmpTo(alive6), tcpTo(alive, 443), tcpTo(alive6, 443), httpTo(alive, 80), httpTo(alive6, 80),
		{Kind: HTTP, Address: addr(alive), URL: "http://www.example.com/"}, dnsTo(alive), dnsTo(alive6), arpTo(hop)}
	p := w.probe(config(200*ms, targets...))
	for _, target := range targets {
		for _, r := range p.of(target, 3) {
			source := addr(ourAddr)
			if target.Address.Is6() {
				source = addr(ourAddr6)
			}
			want := Used{Source: source, Interface: "right", Mark: mark}
			if target.Kind == ARP {
				want.Mark = 0
			}
			if !r.OK || r.Why != "" || r.Used != want || r.RTT <= 0 || r.RTT > 100*ms || r.Link != "isp-a/main" {
				t.Errorf("%v, used %+v", r, r.Used)
			}
		}
	}
	if a := (<-seen).Addr().Unmap(); a != addr(ourAddr) && a != addr(ourAddr6) {
		t.Errorf("the server saw %v", a)
	}
	if got := w.nft(w.wrong, "list", "counter", "inet", "t", "probes"); !strings.Contains(got, "packets 0") {
		t.Errorf("probes on the wrong wire: %s", got)
	}
	if got := w.nft(w.far, "list", "counter", "inet", "t", "probes"); strings.Contains(got, "packets 0") {
		t.Errorf("no probes on the right wire: %s", got)
	}
}

// TestSilent: without an answer each kind says so, in time.
func TestSilent(t *testing.T) {
	w := newWorld(t)
	targets := []Target{icmpTo(silent), tcpTo(silent, 443), httpTo(silent, 80), dnsTo(silent), arpTo("192.0.2.3")}
	c := config(200*ms, targets...)
	c.Timeout = 100 * ms
	p := w.probe(c)
	for _, target := range targets {
		for _, r := range p.of(target, 3) {
			if r.OK || r.Why != "no answer in 100ms" || r.RTT != 0 || r.Used.Source != addr(ourAddr) || r.Used.Interface != "right" {
				t.Errorf("%v", r)
			}
		}
	}
}

// TestHalfDead: targets that do something, but not what is asked.
func TestHalfDead(t *testing.T) {
	w := newWorld(t)
	w.serve(":81", 500)
	w.serve(":82", 302)
	w.resolve(alive+":53", func([]byte) []byte { return []byte("what?") })
	w.resolve(alive+":54", func(q []byte) []byte { return q }) // an echo is no answer
	mute := w.listen(":80")                                    // is never accepted from; the kernel does
	_ = mute
	other := dnsTo(alive)
	other.Port = 54
	for target, want := range map[Target]string{
		tcpTo(alive, 80):  "ok",
		httpTo(alive, 80): "no answer in 100ms",
		httpTo(alive, 81): "answered 500 Internal Server Error",
		httpTo(alive, 82): "ok",
		tcpTo(alive, 9):   "connection refused",
		dnsTo(alive):      "no answer in 100ms",
		other:             "no answer in 100ms",
	} {
		c := config(100*ms, target)
		p := w.probe(c)
		p.says(target, want)
	}
}

// TestLossy: what is lost is lost, and what is answered is answered.
func TestLossy(t *testing.T) {
	w := newWorld(t)
	w.nft(w.far, "insert rule inet t in icmp type echo-request numgen inc mod 2 0 drop")
	p := w.probe(config(50*ms, icmpTo(alive)))
	good := 0
	all := p.of(icmpTo(alive), 20)
	for _, r := range all {
		if r.OK {
			good++
		}
	}
	if good < len(all)/2-1 || good > len(all)/2+1 {
		t.Errorf("%d of %d", good, len(all))
	}
}

// TestSpread: targets take their turns, and keep to the interval.
func TestSpread(t *testing.T) {
	w := newWorld(t)
	targets := []Target{icmpTo(alive), icmpTo(silent), tcpTo(silent, 1), arpTo(hop)}
	p := w.probe(config(200*ms, targets...))
	first := p.of(targets[0], 1)[0].Sent
	for i, target := range targets {
		all := p.of(target, 5)
		for k, r := range all[:5] {
			want := time.Duration(i)*50*ms + time.Duration(k)*200*ms
			if off := r.Sent.Sub(first) - want; off < -30*ms || off > 30*ms {
				t.Errorf("%v: probe %d is %v off", target, k, off)
			}
		}
	}
}

// TestMissing: what is missing is said, and used when it is there.
func TestMissing(t *testing.T) {
	w := newWorld(t)
	w.serve(":80", 200)
	w.resolve(alive+":53", refused)
	targets := []Target{icmpTo(alive), tcpTo(alive, 80), httpTo(alive, 80), dnsTo(alive), arpTo(hop)}
	p := w.probe(config(100*ms, targets...))
	all := func(want string, some ...Target) {
		t.Helper()
		for _, target := range some {
			p.says(target, want)
		}
	}
	all("ok", targets...)
	w.ip(w.ours, "link del right")
	all("interface right is missing", targets...)
	w.wire()
	all("ok", targets...)
	w.ip(w.ours, "addr del "+ourAddr+"/30 dev right")
	p.says(tcpTo(alive, 80), "the source address is not there")
	p.says(httpTo(alive, 80), "the source address is not there")
	w.ip(w.ours, "addr add "+ourAddr+"/30 dev right")
	w.ip(w.ours, "route replace default via "+hop+" dev right table 100") // went with the address
	all("ok", targets...)
}

// TestSet: links come and go, and who stays is not disturbed.
func TestSet(t *testing.T) {
	w := newWorld(t)
	one, two := config(100*ms, icmpTo(alive)), config(100*ms, arpTo(hop))
	two.Link = "isp-a/other"
	p := w.probe(one, two)
	p.of(icmpTo(alive), 3)
	p.of(arpTo(hop), 1)
	if err := p.Set([]Config{one}); err != nil {
		t.Fatal(err)
	}
	p.of(icmpTo(alive), 8)
	var last time.Time
	for _, r := range p.of(icmpTo(alive), 8) {
		if d := r.Sent.Sub(last); !last.IsZero() && (d < 60*ms || d > 140*ms) {
			t.Errorf("probes %v apart", d)
		}
		last = r.Sent
	}
	if len(p.Last()) != 1 {
		t.Errorf("%v", p.Last())
	}
	n := len(p.all())
	one.Every = 50 * ms
	p.Set([]Config{one})
	p.of(icmpTo(alive), n+10)
}

// TestDetects: silent loss behind the neighbor, until the track says so: probes every 100 ms, three in a row.
func TestDetects(t *testing.T) {
	w := newWorld(t)
	w.resolve(alive+":53", refused)
	w.serve(":80", 200)
	targets := []Target{icmpTo(alive), tcpTo(alive, 80), dnsTo(alive)}
	var names []string
	for _, target := range targets {
		names = append(names, target.String())
	}
	var times []time.Duration
	for range 5 {
		p := w.probe(config(100*ms, targets...))
		for _, target := range targets {
			p.says(target, "ok")
		}
		s := track.NewProbes(track.ProbeParams{DownAfter: 3}, names)
		n := 0
		judge := func() bool {
			all := p.all()
			for ; n < len(all); n++ {
				s, _ = s.Observe(time.Now(), all[n].Track())
			}
			return s.Down
		}
		judge()
		w.nft(w.far, "insert rule inet t in ip daddr 198.18.53.0/24 drop")
		cut := time.Now()
		for !judge() {
			if time.Since(cut) > 10*time.Second {
				t.Fatalf("not found: %v", s)
			}
			time.Sleep(ms)
		}
		times = append(times, time.Since(cut))
		w.nft(w.far, "flush chain inet t in")
	}
	t.Logf("found after %v", times)
	for _, d := range times {
		if d > 600*ms {
			t.Errorf("found after %v", d)
		}
	}
}

// TestOneThatCannotBeSent: a target without a way costs the others of its kind no answer, however long those take.
func TestOneThatCannotBeSent(t *testing.T) {
	w := newWorld(t)
	const nowhere, near6 = "2001:db8:53::8", "2001:db8::2"
	w.ip(w.ours, "-6 route del default table 100")
	w.ip(w.ours, "-6 route add "+alive6+" via "+near6+" dev right table 100")
	slowly := func(q []byte) []byte { time.Sleep(150 * ms); return refused(q) }
	w.resolve("["+alive6+"]:53", slowly)
	w.resolve("["+near6+"]:53", slowly)
	p := w.probe(config(200*ms, dnsTo(nowhere), dnsTo(alive6), dnsTo(near6)))
	for _, r := range p.of(dnsTo(nowhere), 5) {
		if r.Why != "network is unreachable" {
			t.Error(r)
		}
	}
	for _, target := range []Target{dnsTo(alive6), dnsTo(near6)} {
		for _, r := range p.of(target, 5) {
			if !r.OK {
				t.Error(r)
			}
		}
	}
}
