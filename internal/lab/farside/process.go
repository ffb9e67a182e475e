package farside

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// RouterEnv tells a process that it is to be a router, by the number of the file descriptor that it is told through.
const RouterEnv = "BOTHWAYS_LAB_ROUTER"

// RunRouter is the life of a router's process: it ends when its parent does.
func RunRouter(control *os.File, log *slog.Logger) error {
	conn, err := net.FileConn(control)
	if err != nil {
		return err
	}
	defer conn.Close()
	in, out := json.NewDecoder(conn), &sender{enc: json.NewEncoder(conn)}
	var c RouterConfig
	if err := in.Decode(&c); err != nil {
		return fmt.Errorf("router: configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := startRouter(ctx, c, func(e RouteEvent) { out.send(message{Route: &e}) }, log)
	out.send(message{ID: -1, Error: text(err)})
	if err != nil {
		return err
	}
	defer r.stop()
	for {
		var q request
		if err := in.Decode(&q); err != nil {
			if err == io.EOF {
				return nil
			}
			return fmt.Errorf("router %s: %w", c.Name, err)
		}
		answer := message{ID: q.ID}
		answer.Sessions, err = r.do(ctx, q)
		answer.Error = text(err)
		out.send(answer)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// pair makes the two ends through which a router's process and its parent speak.
func pair() (parent net.Conn, child *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	own := os.NewFile(uintptr(fds[0]), "router")
	defer own.Close()
	if parent, err = net.FileConn(own); err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return parent, os.NewFile(uintptr(fds[1]), "router"), nil
}
