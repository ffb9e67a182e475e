package session

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
)

// handle gives the machine an event and does what it says.
func (l *loop) handle(ctx context.Context, e fsm.Event) {
	var actions []fsm.Action
	l.state, actions = l.state.Handle(time.Now(), e)
	for _, a := range actions {
		l.act(ctx, a)
	}
}

func (l *loop) act(ctx context.Context, a fsm.Action) {
	switch a := a.(type) {
	case fsm.Dial:
		l.startDial(ctx)
	case fsm.CancelDial:
		l.cancelDial()
	case fsm.CloseConn:
		if c := l.conns[a.Conn]; c != nil {
			delete(l.conns, a.Conn)
			if a.Notification != nil {
				l.counters.messagesOut.Add(1)
			}
			c.close(a.Notification)
		}
	case fsm.Send:
		if c := l.conns[a.Conn]; c != nil {
			l.send(c, a.Msg)
		}
	case fsm.Agreed:
		if c := l.conns[a.Conn]; c != nil {
			c.agreed <- a.Negotiated
		}
	case fsm.Up:
		l.wentUp(a)
	case fsm.Down:
		l.wentDown(a)
	case fsm.Failed:
		l.failed(a.Reason)
	}
}

func (l *loop) startDial(ctx context.Context) {
	ctx, l.dialCancel = context.WithCancel(ctx)
	l.dialSerial++
	serial := l.dialSerial
	l.workers.Go(func() {
		bounded, stop := context.WithTimeout(ctx, dialTimeout)
		defer stop()
		nc, err := l.dial(bounded, &l.cfg)
		select {
		case l.dialed <- dialed{serial, nc, err}:
		case <-ctx.Done():
			if nc != nil {
				nc.Close()
			}
		}
	})
}

func (l *loop) wentUp(a fsm.Up) {
	now := time.Now()
	l.up, l.agreed = l.conns[a.Conn], a.Negotiated
	l.up.limit = a.Negotiated.SendHold
	l.encoder = l.cfg.encoder(a.Negotiated)
	l.rib.begin(a.Negotiated.Families)
	l.status.Established++
	l.status.Local, l.status.Remote = addrPort(l.up.nc.LocalAddr()), addrPort(l.up.nc.RemoteAddr())
	l.keepConn()
	l.queue = append(l.queue, Up{Name: l.cfg.Name, At: now, Negotiated: a.Negotiated})
	l.lastFail = ""
	l.log.Info("session is up", "neighbor", l.cfg.Neighbor, "router_id", a.Negotiated.RouterID, "hold", a.Negotiated.Hold)
}

func (l *loop) wentDown(a fsm.Down) {
	now, end := time.Now(), l.end
	if n := l.up.lastRead.Load(); n != 0 {
		end.heard = time.Unix(0, n)
	}
	l.up, l.agreed, l.encoder = nil, nil, nil
	l.rib.sent, l.telling = nil, 0
	if l.cfg.Keeper != nil {
		l.cfg.Keeper.Drop()
	}
	l.status.Local, l.status.Remote = netip.AddrPort{}, netip.AddrPort{}
	e := Down{Name: l.cfg.Name, At: now, Reason: a.Reason, Sent: a.Sent, Received: a.Received, Stale: a.Stale}
	e.Sign, e.SignAt = signOf(a, end)
	if len(a.Stale) > 0 {
		e.StaleUntil = now.Add(a.RestartTime)
	}
	l.queue = append(l.queue, e)
	l.status.LastError, l.status.LastErrorAt = a.Reason, now
	l.log.Warn("session is down", "neighbor", l.cfg.Neighbor, "reason", a.Reason, "stale", len(a.Stale) > 0)
}

// failed notes an attempt that came to nothing, and logs it once.
func (l *loop) failed(reason string) {
	l.status.LastError, l.status.LastErrorAt = reason, time.Now()
	if reason != l.lastFail {
		l.lastFail = reason
		l.log.Info("session does not come up", "neighbor", l.cfg.Neighbor, "reason", reason)
	}
}

// updated passes a batch of UPDATEs on.
func (l *loop) updated(i inbound) {
	name := l.cfg.Name
	if len(i.result.Updates) > 0 {
		l.queue = append(l.queue, Updates{name, i.result.Updates})
	}
	for _, d := range summary(i.result.Diagnostics) {
		d.Name = name
		l.queue = append(l.queue, d)
	}
	if i.endOfRIB != 0 && slices.Contains(l.agreed.Families, i.endOfRIB) {
		l.queue = append(l.queue, EndOfRIB{name, i.endOfRIB})
	}
}

// summary makes one of diagnostics of the same kind, so that a neighbor with an error in every message does not cost
// an event for each.
func summary(list []message.Diagnostic) []Diagnostic {
	var out []Diagnostic
next:
	for _, d := range list {
		for i := range out {
			if out[i].Action == d.Action && out[i].Attribute == d.Attribute {
				out[i].Count++
				continue next
			}
		}
		out = append(out, Diagnostic{Diagnostic: d, Count: 1})
	}
	return out
}

// refreshed takes a ROUTE-REFRESH.
func (l *loop) refreshed(r *message.RouteRefresh) {
	if r.Family == 0 || !slices.Contains(l.agreed.Families, r.Family) {
		return
	}
	switch r.Subtype {
	case message.RefreshRequest:
		l.rib.refresh[r.Family], l.rib.changed = true, true
	case message.RefreshBegin:
		l.refreshEvent(RefreshStart{l.cfg.Name, r.Family})
	case message.RefreshEnd:
		l.refreshEvent(RefreshEnd{l.cfg.Name, r.Family})
	}
}

// refreshEvent passes on a mark that was agreed on; others mean nothing (RFC 7313, section 5).
func (l *loop) refreshEvent(e Event) {
	if l.agreed.EnhancedRefresh {
		l.queue = append(l.queue, e)
	}
}

// publish shows the state to others, where it has changed.
func (l *loop) publish() {
	if p := l.state.Phase(); p != l.status.Phase || l.status.Since.IsZero() {
		l.status.Phase, l.status.Since = p, time.Now()
	}
	l.status.Negotiated, l.status.Announced = l.agreed, l.rib.told()
	if was := l.Session.status.Load(); *was != l.status {
		st := l.status
		l.Session.status.Store(&st)
	}
}
