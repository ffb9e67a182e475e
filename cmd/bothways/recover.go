package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"bothways/internal/bgp/session"
	"bothways/internal/handover"
)

// recoverKept goes on with what the service manager kept of a daemon that died: the wire to the process that speaks BFD, listening
// sockets, and sessions whose connection is between two messages. All else is closed without a word, as the end of that daemon
// would have closed it.
func (d *daemon) recoverKept(stored map[string][]*os.File) {
	n := 0
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		along := files(stored[name])
		var err error
		switch {
		case name == keptBFD:
			err = d.recoverBFD(along)
		case strings.HasPrefix(name, keptListen):
			err = d.recoverListening(along)
		case strings.HasPrefix(name, keptSession):
			if err = d.recoverSession(along); err == nil {
				n++
			}
		default:
			err = errors.New("its name is not known")
		}
		along.close()
		if err == nil {
			continue
		}
		d.log.Warn("what was kept of a daemon that died cannot be used", "name", name, "error", err)
		if err := d.kept.Remove(name); err != nil {
			d.log.Warn("the service manager keeps it", "name", name, "error", err)
		}
	}
	if len(stored) > 0 {
		d.log.Info("recovered from a daemon that died", "sessions", n)
	}
}

func (d *daemon) recoverBFD(along files) error {
	wire, err := along.at(0)
	if err != nil {
		return err
	}
	if err := d.bfd.Recover(wire); err != nil {
		return err
	}
	along[0] = nil // it is in use
	return nil
}

func (d *daemon) recoverListening(along files) error {
	f, err := along.at(0)
	if err != nil {
		return err
	}
	ln, err := along.listener(0)
	if err != nil {
		return err
	}
	defer ln.Close()
	at, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("a %T", ln.Addr())
	}
	local := at.AddrPort().Addr().Unmap().WithZone("")
	// Whose keys are on it is not known: those that are wanted are set again, and others are of nobody that connects.
	return d.speaker.listener.Take(session.Listening{Local: local, File: f})
}

func (d *daemon) recoverSession(along files) error {
	record, connection, err := keptPair(along)
	if err != nil {
		return err
	}
	var state keptState
	marked, err := handover.ReadRecord(record, &state)
	x := state.Session
	switch {
	case err != nil:
		return err
	case state.Version != handoverVersion:
		return fmt.Errorf("version %d, want %d", state.Version, handoverVersion)
	case x.Handover == nil || x.Handover.Standing.Negotiated == nil:
		return errors.New("no session stands on it")
	case marked:
		return errors.New("a message may be half written")
	case !x.Handover.Standing.Negotiated.RouteRefresh:
		return errors.New("its neighbor cannot say its routes again")
	}
	nc, err := net.FileConn(connection)
	if err != nil {
		return err
	}
	return d.speaker.take(x.Params, x.Handover.Recovered(time.Now()), nc)
}

// keptPair tells a session's two files apart: systemd gives those of one name back in no order.
func keptPair(along files) (record, connection *os.File, err error) {
	for _, f := range along {
		info, err := f.Stat()
		switch {
		case err != nil:
			return nil, nil, err
		case info.Mode().Type() == os.ModeSocket:
			connection = f
		case info.Mode().IsRegular():
			record = f
		}
	}
	if len(along) != 2 || record == nil || connection == nil {
		return nil, nil, fmt.Errorf("%d files, want a connection and its record", len(along))
	}
	return record, connection, nil
}
