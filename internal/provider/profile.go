package provider

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bothways/internal/route"
)

// Profile is what is known of a kind of neighbor.
type Profile struct {
	Name string
	// Circuit: a private way to one provider, of whose routes the default and private prefixes are never right.
	Circuit bool
	// ASN is the neighbor's AS; 0 where the link has to say.
	ASN uint32
	// Peerings are the kinds that the path must choose from; none: no choice.
	Peerings []string
	// AcceptAll: without an accept list everything is accepted; otherwise nothing is (RFC 8212).
	AcceptAll bool
	// Preference is the default local preference; Static that of a default without BGP.
	Preference, Static uint32
	// Links is how many links the provider gives and its service level asks for; 0: any.
	Links int

	Hold time.Duration // proposed hold time
	// BFDInterval and BFDMultiplier are what bfd: true means.
	BFDInterval   time.Duration
	BFDMultiplier uint8
	// GracefulRestart: offered to the neighbor.
	GracefulRestart bool
	// NoTTLSecurity: the neighbor sends a TTL of 1, so GTSM (RFC 5082) cannot be used.
	NoTTLSecurity bool

	Rules Rules
	names map[string][]route.Community
}

// Rules are what the provider's documentation asks of the site, each with what happens otherwise where it is known.
type Rules struct {
	// MaxAnnounce prefixes per session and family; beyond it the provider drops the session. 0: no known limit.
	MaxAnnounce int
	// NoPrivate: private prefixes must not be announced. Nobody is ever announced a default.
	NoPrivate bool
	// PoolNotElsewhere: what is announced here must not be announced, at the same length, on another path.
	PoolNotElsewhere bool
	// StripsPrivateASN: private AS numbers are taken out of the path, so prepending them does nothing.
	StripsPrivateASN bool
	// NoDocumentationASN: AS numbers 64496 to 64511 must not be in the path.
	NoDocumentationASN bool
	// IgnoresCommunities: communities on what the site announces are not honoured.
	IgnoresCommunities bool
	// PasswordMin, PasswordMax bound the length of the MD5 key; PasswordAlphanumeric its characters. 0: no known bound.
	PasswordMin, PasswordMax int
	PasswordAlphanumeric     bool
	// HoldMin is the lowest hold time that the provider takes. 0: RFC 4271's 3 seconds.
	HoldMin time.Duration
	// Source names the document that says so.
	Source string
}

// Communities returns the communities that a name stands for.
func (p Profile) Communities(name string) ([]route.Community, bool) {
	cs, ok := p.names[name]
	return cs, ok
}

// NameNames lists the names that accept may use, sorted.
func (p Profile) NameNames() []string { return slices.Sorted(maps.Keys(p.names)) }

// Like lists names that contain what was typed, for an error message; at most five.
func (p Profile) Like(name string) []string {
	_, want, _ := strings.Cut(name, "/")
	var out []string
	for _, n := range p.NameNames() {
		if want != "" && strings.Contains(n, want) && len(out) < 5 {
			out = append(out, n)
		}
	}
	return out
}

// ByName returns a profile for a path with this peering, which may be empty where the profile has no choice.
func ByName(name string) (Profile, bool) {
	for _, p := range profiles() {
		if p.Name == name {
			if p.BFDInterval == 0 {
				p.BFDInterval, p.BFDMultiplier = 300*time.Millisecond, 3
			}
			return p, true
		}
	}
	return Profile{}, false
}

// Names lists the profiles.
func Names() []string {
	var out []string
	for _, p := range profiles() {
		out = append(out, p.Name)
	}
	return out
}

func profiles() []Profile {
	return []Profile{azure(), aws(), gcp(), internet()}
}

func internet() Profile {
	return Profile{
		Name: "internet", AcceptAll: true, Preference: 100, Static: 50,
		Hold: 90 * time.Second, GracefulRestart: true,
	}
}

// aws is a Direct Connect public virtual interface. The AS is a default: older interfaces speak as 7224.
func aws() Profile {
	return Profile{
		Name: "aws", Circuit: true, ASN: 16509, Preference: 150, Static: 50,
		Hold: 90 * time.Second, NoTTLSecurity: true,
		Rules: Rules{
			MaxAnnounce: 1000, NoPrivate: true, PasswordMin: 6, PasswordMax: 80, HoldMin: 3 * time.Second,
			Source: "AWS Direct Connect user guide, routing and BGP; limits",
		},
		names: map[string][]route.Community{
			"scope/region":    {7224<<16 | 8100},
			"scope/continent": {7224<<16 | 8200},
		},
	}
}

// gcp is a direct or verified peering: AS 15169 sends no communities to choose by.
func gcp() Profile {
	return Profile{
		Name: "gcp", Circuit: true, ASN: 15169, Preference: 150, Static: 50,
		Hold: 60 * time.Second, GracefulRestart: true,
		Rules: Rules{NoPrivate: true, Source: "Google Cloud, direct peering"},
	}
}

// CheckPeering says what is wrong with a path's choice of peering.
func (p Profile) CheckPeering(peering string) error {
	switch {
	case len(p.Peerings) == 0 && peering != "":
		return fmt.Errorf("provider %s has no kinds of peering, found %q", p.Name, peering)
	case len(p.Peerings) > 0 && !slices.Contains(p.Peerings, peering):
		return fmt.Errorf("want one of %s, found %q", strings.Join(p.Peerings, ", "), peering)
	}
	return nil
}
