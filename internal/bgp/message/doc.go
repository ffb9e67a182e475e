// Package message turns BGP messages into values and back: no sockets, no clock, no state but the decoder's cache.
//
// It speaks IPv4 and IPv6 unicast between external neighbors. UPDATEs are the hot path and have a decoder of their own,
// which gives equal attribute bytes the same *route.Attrs; everything else is rare and plain.
//
// RFCs: 4271 (BGP-4), 2918 and 7313 (route refresh), 4486, 8203 and 9003 (cease), 4724 and 8538 (graceful restart),
// 4760 (multiprotocol), 5492 (capabilities), 6608 (FSM error subcodes), 6793 (four-octet AS), 7606 (error handling),
// 7607 (AS 0), 8092 (large communities), 8654 (extended messages), 9072 (extended optional parameters), 9234 (roles),
// 9687 (send hold timer).
package message
