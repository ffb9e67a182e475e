package proof

import (
	"net/netip"
	"testing"
	"time"
)

func TestSample(t *testing.T) {
	rows := []struct {
		prefix      string
		n, want     int
		first, last string
	}{
		{"198.51.100.64/28", 16, 16, "198.51.100.64", "198.51.100.79"},
		{"198.51.100.64/28", 4, 4, "198.51.100.64", "198.51.100.79"},
		{"198.51.100.64/32", 4, 1, "198.51.100.64", "198.51.100.64"},
		{"203.0.113.0/24", 8, 8, "203.0.113.0", "203.0.113.255"},
		{"10.0.0.0/8", 2, 2, "10.0.0.1", "10.0.255.255"},
		{"203.0.113.0/24", 1, 1, "203.0.113.255", "203.0.113.255"},
		{"2001:db8:100::/48", 3, 3, "2001:db8:100::1", "2001:db8:100::ffff"},
		{"2001:db8::1/128", 8, 1, "2001:db8::1", "2001:db8::1"},
		{"203.0.113.0/24", 0, 0, "", ""},
	}
	for _, row := range rows {
		p := netip.MustParsePrefix(row.prefix)
		got := Sample(p, row.n)
		if len(got) != row.want {
			t.Errorf("%s: %v, want %d", row.prefix, got, row.want)
			continue
		}
		if row.want > 0 && (got[0].String() != row.first || got[len(got)-1].String() != row.last) {
			t.Errorf("%s: from %s to %s, want %s to %s", row.prefix, got[0], got[len(got)-1], row.first, row.last)
		}
		for _, a := range got {
			if !p.Contains(a) {
				t.Errorf("%s: %s lies outside", row.prefix, a)
			}
		}
	}
}

func TestTokensFollowFromAddresses(t *testing.T) {
	var list []netip.Addr
	for a := netip.MustParseAddr("198.51.100.0"); len(list) < 1000; a = a.Next() {
		list = append(list, a)
	}
	all := Tokens(list)
	seen := map[uint16]netip.Addr{}
	for a, token := range all {
		if token < TokenFirst {
			t.Errorf("%s has token %#x, below those of proofs", a, token)
		}
		if o, ok := seen[token]; ok {
			t.Errorf("%s and %s have token %#x", a, o, token)
		}
		seen[token] = a
	}
	if len(all) != len(list) {
		t.Errorf("%d of %d have a token", len(all), len(list))
	}
	one := Tokens(list[7:8])
	if again := Tokens(append(list[7:8:8], list[7])); one[list[7]] != again[list[7]] {
		t.Error("the same address has another token the next time")
	}
}

func TestVerdicts(t *testing.T) {
	params := Params{Every: time.Minute, Retry: time.Second, Misses: 3}
	target := Target{Protocol: ICMP, Address: netip.MustParseAddr("20.60.72.10")}
	own, other, none := Answer{Target: target, Link: "er/a", Path: "er"}, Answer{Target: target, Link: "isp/main", Path: "isp"}, Answer{Target: target, Why: "no reply"}
	third := Answer{Target: target, Link: "isp-b/main", Path: "isp-b"}
	sibling := Answer{Target: target, Link: "er/b", Path: "er"}
	rows := []struct {
		name    string
		answers []Answer
		want    Verdict
		changes int
		next    time.Duration
	}{
		{"nothing", nil, Unknown, 0, 0},
		{"the path that asked", []Answer{own}, Same, 1, time.Minute},
		{"the other link of the circuit", []Answer{own, sibling}, Same, 1, time.Minute},
		{"another path is believed at once", []Answer{own, other}, Other, 2, time.Minute},
		{"and a third one is told", []Answer{other, third}, Other, 2, time.Minute},
		{"one miss is none", []Answer{own, none}, Same, 1, time.Second},
		{"three misses are", []Answer{own, none, none, none}, None, 2, time.Minute},
		{"three misses at the start are", []Answer{none, none, none}, None, 1, time.Minute},
		{"misses that a reply parts are not", []Answer{own, none, none, own, none}, Same, 1, time.Second},
		{"a reply ends it", []Answer{none, none, none, own}, Same, 2, time.Minute},
		{"a reply by another path ends it too", []Answer{none, none, none, other}, Other, 2, time.Minute},
		{"one reply by the right path does not end replies by another", []Answer{other, own}, Other, 1, time.Second},
		{"three do", []Answer{other, own, own, own}, Same, 2, time.Minute},
	}
	for _, row := range rows {
		now := time.Unix(1000, 0)
		var s State
		changes := 0
		for _, a := range row.answers {
			var ok, changed bool
			if s, _, ok = s.Ask(now, []Target{target}, params); !ok {
				t.Fatalf("%s: nobody to ask", row.name)
			}
			if s.Due(now.Add(time.Hour)) {
				t.Errorf("%s: asks while a proof is under way", row.name)
			}
			s, changed = s.Observe(now, "er", a, params)
			if changed {
				changes++
			}
		}
		if s.Verdict != row.want || changes != row.changes {
			t.Errorf("%s: %s after %d changes, want %s after %d", row.name, s.Verdict, changes, row.want, row.changes)
		}
		if row.next != 0 && !s.Next.Equal(now.Add(row.next)) {
			t.Errorf("%s: asks again in %v, want %v", row.name, s.Next.Sub(now), row.next)
		}
	}
}

func TestTargetsTakeTurns(t *testing.T) {
	params := Params{Every: time.Minute, Retry: time.Second, Misses: 3}
	list := []Target{{ICMP, netip.MustParseAddr("192.0.2.1"), 0}, {TCP, netip.MustParseAddr("192.0.2.2"), 443}}
	now := time.Unix(1000, 0)
	var s State
	seen := map[Target]int{}
	for range 4 {
		next, target, ok := s.Ask(now, list, params)
		if !ok {
			t.Fatal("nobody to ask")
		}
		seen[target]++
		s = next.Lost(now)
		if !s.Due(now) {
			t.Error("a lost proof is not asked again")
		}
	}
	if seen[list[0]] != 2 || seen[list[1]] != 2 {
		t.Errorf("asked %v", seen)
	}
	if s, _, ok := s.Ask(now, nil, params); ok || s.Due(now) || !s.Due(now.Add(time.Minute)) {
		t.Error("without a target it does not wait")
	}
}
