package demo

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bothways/internal/lab"
	"bothways/internal/lab/world"
)

// Claim is something said of the edge, with what was seen of it.
type Claim struct {
	Name, Expected, Seen string
	OK                   bool
}

// Demo runs through the failures of a world, tells what happens, and collects claims.
type Demo struct {
	w       *lab.World
	program string // of the edge
	out     io.Writer
	start   time.Time
	claims  []Claim
}

// New prepares a demo in a world without an edge, which has to be of the default world's shape.
func New(w *lab.World, program string, out io.Writer) *Demo {
	return &Demo{w: w, program: program, out: out, start: time.Now()}
}

// client is the inside host that asks.
const client = "client"

// patience is how long anything may take.
const patience = 90 * time.Second

// say tells what happens, with the time since the start.
func (d *Demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1f s  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

func (d *Demo) claim(name, expected, seen string, ok bool) {
	d.claims = append(d.claims, Claim{name, expected, seen, ok})
	word := "ok"
	if !ok {
		word = "NOT as claimed, but"
	}
	d.say("  %s: %s %s", name, word, seen)
}

// way is where packets are expected to go: the source that services see, and the routers that they come by.
type way struct {
	pools []netip.Prefix
	via   []string
}

// words says what is expected, of one family.
func (y way) words(v6 bool) string {
	var pools []string
	for _, p := range y.pools {
		if p.Addr().Is6() == v6 && !slices.Contains(pools, p.String()) {
			pools = append(pools, p.String())
		}
	}
	return strings.Join(pools, " or ") + " by " + strings.Join(y.via, " or ")
}

// fits says whether an answer is of the way.
func (y way) fits(a lab.Answer) bool {
	in := slices.ContainsFunc(y.pools, func(p netip.Prefix) bool { return p.Contains(a.SeenAs) })
	return in && slices.Contains(y.via, a.Via)
}

// wayOf is by links of the world, all of one path.
func (d *Demo) wayOf(links ...string) way {
	var y way
	for _, link := range links {
		r := d.w.Description.Router(link)
		y.via = append(y.via, r.Name)
		for _, to := range d.w.Description.Path(r.PathName()).NAT {
			if p, err := netip.ParsePrefix(to); err == nil {
				y.pools = append(y.pools, p)
			} else if to == "interface" {
				a := r.SiteAddress(false).Addr()
				y.pools = append(y.pools, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return y
}

// asker is a way to ask a service.
type asker func(ctx context.Context, from string, to netip.Addr) (lab.Answer, error)

// see asks hosts in both families and claims that all saw the way.
func (d *Demo) see(ctx context.Context, name string, hosts []world.Host, y way, ask asker) {
	for _, v6 := range []bool{false, true} {
		seen, right, total := map[string]int{}, 0, 0
		for _, h := range hosts {
			if !h.Address(v6).IsValid() {
				continue
			}
			total++
			a, err := ask(ctx, client, h.Address(v6))
			text := fmt.Sprintf("%s by %s", a.SeenAs, a.Via)
			if err != nil {
				text = "no answer"
			} else if y.fits(a) {
				right++
			}
			seen[text]++
		}
		if total > 0 {
			d.claim(name+family(v6), y.words(v6), tally(seen), right == total)
		}
	}
}

func family(v6 bool) string {
	if v6 {
		return ", IPv6"
	}
	return ", IPv4"
}

// tally prints what was seen how often.
func tally(seen map[string]int) string {
	var out []string
	for text, n := range seen {
		if n > 1 {
			text += fmt.Sprintf(" (%d times)", n)
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// change does something and claims that new requests to hosts go a way from then on, within a limit.
func (d *Demo) change(ctx context.Context, name string, hosts []world.Host, y way, limit time.Duration, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var to []netip.Addr
	var names []string
	for _, h := range hosts {
		for _, a := range h.Addresses {
			to, names = append(to, a), append(names, h.Name+family(a.Is6()))
		}
	}
	outages, err := d.w.Change(ctx, client, to, y.fits, do)
	if err != nil && outages == nil {
		return err
	}
	for i, o := range outages {
		expected := y.words(to[i].Is6())
		if limit > 0 {
			expected += fmt.Sprintf(", within %s", limit)
		}
		if err != nil && o.Took == 0 {
			d.claim(name+": "+names[i], expected, err.Error(), false)
			continue
		}
		d.claim(name+": "+names[i], expected, o.String(), limit == 0 || o.Took <= limit)
	}
	return ctx.Err()
}

func (d *Demo) fail(ctx context.Context, silent bool, links ...string) func() error {
	return func() error {
		for _, l := range links {
			if err := d.w.Fail(ctx, l, silent); err != nil {
				return err
			}
		}
		return nil
	}
}

func (d *Demo) heal(ctx context.Context) func() error {
	return func() error { return d.w.HealAll(ctx) }
}

// Table prints the claims, and says whether all hold.
func (d *Demo) Table() bool {
	head := Claim{Name: "CLAIM", Expected: "EXPECTED", Seen: "SEEN"}
	width := [2]int{}
	for _, c := range append([]Claim{head}, d.claims...) {
		width[0], width[1] = max(width[0], len(c.Name)), max(width[1], len(c.Expected))
	}
	all := true
	fmt.Fprintf(d.out, "\n    %-*s  %-*s  %s\n", width[0], head.Name, width[1], head.Expected, head.Seen)
	for _, c := range d.claims {
		word := "ok"
		if !c.OK {
			word, all = "NO", false
		}
		fmt.Fprintf(d.out, "%s  %-*s  %-*s  %s\n", word, width[0], c.Name, width[1], c.Expected, c.Seen)
	}
	held := 0
	for _, c := range d.claims {
		if c.OK {
			held++
		}
	}
	fmt.Fprintf(d.out, "\n%d of %d claims hold, after %.1f s\n", held, len(d.claims), time.Since(d.start).Seconds())
	return all
}
