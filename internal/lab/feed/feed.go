package feed

import (
	"bufio"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

//go:embed *.csv *.csv.gz
var files embed.FS

// Route is a prefix with the attributes that it is announced with. Path is without the announcing router's own AS.
type Route struct {
	Prefix      netip.Prefix
	Path        []uint32
	Set         []uint32 // an AS_SET that ends the path: the path is of an aggregate
	Communities []uint32
}

// Names lists the feeds.
func Names() []string {
	return []string{"public-peering-128", "public-peering-v6", "microsoft-peering", "isp-a", "isp-b"}
}

// Load reads a feed. asn is that of the router that announces it: where a path of the file begins with it, it is left
// out, since the router puts it there itself.
func Load(name string, asn uint32) ([]Route, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("feed: want one of %s, found %q", strings.Join(Names(), ", "), name)
	}
	r, err := open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []Route
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if strings.HasPrefix(lines.Text(), "prefix,") {
			continue
		}
		route, err := parse(lines.Text(), asn)
		if err != nil {
			return nil, fmt.Errorf("feed %s: line %d: %w", name, n, err)
		}
		out = append(out, route)
	}
	return out, lines.Err()
}

func open(name string) (io.ReadCloser, error) {
	if f, err := files.Open(name + ".csv"); err == nil {
		return f, nil
	}
	f, err := files.Open(name + ".csv.gz")
	if err != nil {
		return nil, err
	}
	return gzip.NewReader(f)
}

// parse reads "prefix,path,communities"; the tables of the ISPs have no communities.
func parse(line string, asn uint32) (Route, error) {
	prefix, rest, _ := strings.Cut(line, ",")
	path, communities := rest, ""
	if i := strings.LastIndexByte(rest, ','); i >= 0 && strings.Contains(rest[i:], ":") {
		path, communities = rest[:i], rest[i+1:]
	}
	var r Route
	var err error
	if r.Prefix, err = netip.ParsePrefix(prefix); err != nil {
		return r, err
	}
	sequence, set, _ := strings.Cut(path, "{")
	if r.Path, err = numbers(strings.Fields(sequence)); err != nil {
		return r, err
	}
	if set, _, _ = strings.Cut(set, "}"); set != "" {
		if r.Set, err = numbers(strings.Split(set, ",")); err != nil {
			return r, err
		}
	}
	if len(r.Path) > 0 && r.Path[0] == asn {
		r.Path = r.Path[1:]
	}
	for _, word := range strings.Fields(communities) {
		high, low, ok := strings.Cut(word, ":")
		h, err1 := strconv.ParseUint(high, 10, 16)
		l, err2 := strconv.ParseUint(low, 10, 16)
		if !ok || err1 != nil || err2 != nil {
			return r, fmt.Errorf("want a community, found %q", word)
		}
		r.Communities = append(r.Communities, uint32(h)<<16|uint32(l))
	}
	return r, nil
}

func numbers(words []string) ([]uint32, error) {
	var out []uint32
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("path: %w", err)
		}
		out = append(out, uint32(n))
	}
	return out, nil
}
