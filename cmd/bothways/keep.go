package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	bfd "bothways/internal/bfd/session"
	"bothways/internal/bgp/session"
	"bothways/internal/engine"
	"bothways/internal/handover"
)

// Names under which the service manager keeps files for the daemon that comes after a crash.
const (
	keptSession = "session "
	keptListen  = "listen "
)

// keptBFD is the name of the wire to the process that speaks BFD. One that speaks another version is not known by it.
var keptBFD = fmt.Sprintf("bfd %d", bfd.WireVersion)

// keptState is what is known of a session that is kept beside its connection.
type keptState struct {
	Version int
	Session handedSession
}

// keeper keeps a session's connection with the service manager, and what is known of the session in a record beside it. What
// cannot be kept ends with the process, as it would without a service manager.
type keeper struct {
	store  *handover.Store
	params engine.SessionParams
	log    *slog.Logger
	record *handover.Record // nil: nothing is kept
	marked bool
}

var _ session.Keeper = (*keeper)(nil)

func (k *keeper) name() string { return keptSession + k.params.Key.String() }

// Keep implements session.Keeper.
func (k *keeper) Keep(h *session.Handover, f *os.File) {
	defer f.Close()
	k.forget()
	r, err := handover.NewRecord(k.name())
	if err == nil {
		k.record = r
		if err = r.Mark(k.marked); err == nil {
			err = r.Write(k.state(h))
		}
	}
	if err == nil {
		err = k.store.Put(k.name(), f, r.File())
	}
	if err != nil {
		k.failed(err)
	}
}

// Change implements session.Keeper.
func (k *keeper) Change(h *session.Handover) {
	if k.record == nil {
		return
	}
	if err := k.record.Write(k.state(h)); err != nil {
		k.failed(err)
	}
}

// Writing implements session.Keeper.
func (k *keeper) Writing(on bool) {
	k.marked = on
	if k.record == nil {
		return
	}
	if err := k.record.Mark(on); err != nil {
		k.failed(err)
	}
}

// Drop implements session.Keeper.
func (k *keeper) Drop() {
	if k.record == nil {
		return
	}
	k.forget()
	if err := k.store.Remove(k.name()); err != nil {
		k.log.Warn("the service manager keeps a connection that has ended", "link", k.params.Key.String(), "error", err)
	}
}

func (k *keeper) state(h *session.Handover) keptState {
	return keptState{handoverVersion, handedSession{Params: k.params, Handover: h}}
}

func (k *keeper) forget() {
	if k.record != nil {
		k.record.Close()
		k.record = nil
	}
}

// failed gives up: what is kept no longer holds.
func (k *keeper) failed(err error) {
	k.log.Warn("a session is not kept for the case of a crash", "link", k.params.Key.String(), "error", err)
	k.Drop()
}

// keptSockets keeps listening sockets.
type keptSockets struct {
	store *handover.Store
	log   *slog.Logger
}

var _ session.SocketKeeper = keptSockets{}

// Keep implements session.SocketKeeper.
func (k keptSockets) Keep(local netip.Addr, f *os.File) {
	if err := k.store.Put(keptListen+local.String(), f); err != nil {
		k.log.Warn("a listening socket is not kept for the case of a crash", "address", local, "error", err)
	}
}

// Drop implements session.SocketKeeper.
func (k keptSockets) Drop(local netip.Addr) {
	if err := k.store.Remove(keptListen + local.String()); err != nil {
		k.log.Warn("the service manager keeps a socket that has been closed", "address", local, "error", err)
	}
}
