package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	bfd "bothways/internal/bfd/session"
	"bothways/internal/bgp/session"
	"bothways/internal/engine"
)

// handoverVersion is the version of what one daemon hands to another. A daemon takes no other.
const handoverVersion = 1

// The messages of a restart, in their order: the new daemon says that it is ready, the old one stands still and sends its
// state, the new one says that it can take it, the old one lets go, and the new one says that it begins. Before that the
// new one touches nothing, and whatever goes wrong, the old one goes on.
type (
	ready struct {
		Version int
		Error   string `json:",omitempty"`
	}
	handedState struct {
		Version  int
		PID      int
		Changed  bool // the kernel was written to since the new daemon was started
		Engine   *engine.Handover
		Sessions []handedSession
		Listens  []handedListen
		BFD      *bfd.Handover `json:",omitempty"`
		BFDFile  int           `json:",omitempty"`
		Socket   string        // the API's
		API      int
		Lock     int
		// Public is where metrics are served by TCP; nil: nowhere.
		Public *handedPublic `json:",omitempty"`
	}
	canTake struct {
		Error string `json:",omitempty"`
	}
	letGo  struct{}
	begins struct{}
)

// handedSession is a session that stands. File is the place of its connection among the files.
type handedSession struct {
	Params   engine.SessionParams
	Handover *session.Handover
	File     int
}

type handedPublic struct {
	Address netip.AddrPort
	File    int
}

type handedListen struct {
	session.Listening
	File int
}

// files are what goes along, by their place.
type files []*os.File

func (f *files) add(x *os.File) int {
	*f = append(*f, x)
	return len(*f) - 1
}

func (f files) close() {
	for _, x := range f {
		if x != nil {
			x.Close()
		}
	}
}

func (f files) at(i int) (*os.File, error) {
	if i < 0 || i >= len(f) || f[i] == nil {
		return nil, fmt.Errorf("file %d of %d", i, len(f))
	}
	return f[i], nil
}

// conn makes a connection of a file. The file stays open.
func (f files) conn(i int) (net.Conn, error) {
	x, err := f.at(i)
	if err != nil {
		return nil, err
	}
	return net.FileConn(x)
}

func (f files) listener(i int) (net.Listener, error) {
	x, err := f.at(i)
	if err != nil {
		return nil, err
	}
	return net.FileListener(x)
}

// check says what no daemon hands over.
func (s *handedState) check() error {
	switch {
	case s.Version != handoverVersion:
		return fmt.Errorf("the daemon that runs hands over version %d, want %d: stop it and start this one", s.Version, handoverVersion)
	case s.Engine == nil:
		return errors.New("the engine's state is missing")
	}
	return s.Engine.Check()
}
