package route

import (
	"fmt"
	"strconv"
	"strings"
)

// Community is a standard community (RFC 1997): AS in the upper half, value in the lower.
type Community uint32

// Well-known communities.
const (
	GracefulShutdown Community = 0xFFFF0000 // RFC 8326
	NoExport         Community = 0xFFFFFF01 // RFC 1997
	NoAdvertise      Community = 0xFFFFFF02 // RFC 1997
)

// ParseCommunity reads "12076:51002".
func ParseCommunity(s string) (Community, error) {
	hi, lo, ok := strings.Cut(s, ":")
	a, err1 := strconv.ParseUint(hi, 10, 16)
	v, err2 := strconv.ParseUint(lo, 10, 16)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("community %q: want AS:VALUE with two numbers up to 65535", s)
	}
	return Community(a<<16 | v), nil
}

func (c Community) String() string { return fmt.Sprintf("%d:%d", uint32(c)>>16, uint32(c)&0xffff) }

// LargeCommunity is a large community (RFC 8092): global administrator and two local parts.
type LargeCommunity [3]uint32

// ParseLargeCommunity reads "64500:1:2".
func ParseLargeCommunity(s string) (LargeCommunity, error) {
	var c LargeCommunity
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return c, fmt.Errorf("large community %q: want three numbers", s)
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return c, fmt.Errorf("large community %q: want three numbers up to 4294967295", s)
		}
		c[i] = uint32(n)
	}
	return c, nil
}

func (c LargeCommunity) String() string { return fmt.Sprintf("%d:%d:%d", c[0], c[1], c[2]) }
