package stream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed" // the table of IPv6 prefixes
	"fmt"
	"net/netip"
)

//go:embed ipv6-20240128.txt.gz
var ipv6File []byte

// IPv6 is the Internet's IPv6 table of January 2024, without paths.
func IPv6() ([]netip.Prefix, error) {
	z, err := gzip.NewReader(bytes.NewReader(ipv6File))
	if err != nil {
		return nil, fmt.Errorf("ipv6 table: %w", err)
	}
	var out []netip.Prefix
	for lines := bufio.NewScanner(z); lines.Scan(); {
		p, err := netip.ParsePrefix(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("ipv6 table: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}
