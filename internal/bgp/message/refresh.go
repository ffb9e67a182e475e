package message

import "bothways/internal/route"

// RefreshSubtype tells what a ROUTE-REFRESH says (RFC 7313, section 3.2).
type RefreshSubtype uint8

// Subtypes of ROUTE-REFRESH.
const (
	RefreshRequest RefreshSubtype = 0
	RefreshBegin   RefreshSubtype = 1 // BoRR
	RefreshEnd     RefreshSubtype = 2 // EoRR
)

// RouteRefresh is the ROUTE-REFRESH message (RFC 2918, RFC 7313).
type RouteRefresh struct {
	Family  route.Family // 0 for one that this project does not speak: to be ignored
	Subtype RefreshSubtype
}

// Type implements Message.
func (*RouteRefresh) Type() Type { return TypeRouteRefresh }

// AppendTo implements Message.
func (r *RouteRefresh) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = begin(dst, TypeRouteRefresh)
	dst = append(dst, 0, byte(r.Family), byte(r.Subtype), safiUnicast)
	return end(dst, start)
}

// ParseRouteRefresh reads the body of a ROUTE-REFRESH. Outbound route filters (RFC 5291) are never negotiated, so a
// body that carries one has the wrong length (RFC 7313, section 5).
func ParseRouteRefresh(body []byte) (*RouteRefresh, error) {
	if len(body) != 4 {
		return nil, notify(CodeRefresh, InvalidRefreshLength, refreshData(body), "body of %d bytes, want 4", len(body))
	}
	return &RouteRefresh{Family: familyOf(be16(body), body[3]), Subtype: RefreshSubtype(body[2])}, nil
}

// refreshData is the whole message that was wrong, which RFC 7313, section 5, wants back; bounded here.
func refreshData(body []byte) []byte {
	if len(body) > 256 {
		body = body[:256]
	}
	dst := begin(nil, TypeRouteRefresh)
	return end(append(dst, body...), 0)
}

const safiUnicast = 1

// familyOf maps AFI and SAFI to a family, or 0. A Family's number is its AFI.
func familyOf(afi uint16, safi uint8) route.Family {
	if safi == safiUnicast && (afi == uint16(route.IPv4) || afi == uint16(route.IPv6)) {
		return route.Family(afi)
	}
	return 0
}
