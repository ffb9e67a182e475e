package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"bothways/internal/config"
	"bothways/internal/engine"
)

// store keeps what must outlive the daemon in one small file. A disk that is full costs a warning: the daemon goes on, and
// the file stays as it was.
type store struct {
	file string
	log  *slog.Logger
	last chan []byte
}

// stateDir is where files are that must outlive the daemon: where the configuration says, else where a service manager says
// (systemd's StateDirectory=), else beside the socket.
func stateDir(c *config.Config) string {
	given, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	if c.State == "" && given != "" {
		return given
	}
	return c.StateDir()
}

func newStore(dir, site string, log *slog.Logger) *store {
	return &store{filepath.Join(dir, site+".learned.json"), log, make(chan []byte, 1)}
}

// Save implements engine.Store.
func (s *store) Save(data []byte) {
	for {
		select {
		case s.last <- data:
			return
		case <-s.last: // an older one, not written yet
		}
	}
}

// Run writes until the context ends, and then what is left.
func (s *store) Run(ctx context.Context) error {
	for {
		select {
		case data := <-s.last:
			s.write(data)
		case <-ctx.Done():
			select {
			case data := <-s.last:
				s.write(data)
			default:
			}
			return nil
		}
	}
}

func (s *store) write(data []byte) {
	if err := writeWhole(s.file, data); err != nil {
		s.log.Warn("cannot keep what was learned, a restart will not know it", "error", err)
	}
}

// writeWhole replaces a file by a new one, or leaves it alone.
func writeWhole(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// load reads what an earlier daemon kept. What cannot be read is as if it were not there.
func (s *store) load() engine.Learned {
	data, err := os.ReadFile(s.file)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.log.Warn("cannot read what was learned before", "error", err)
		}
		return engine.Learned{}
	}
	l, err := engine.ParseLearned(data)
	if err != nil {
		s.log.Warn("cannot read what was learned before", "file", s.file, "error", err)
		return engine.Learned{}
	}
	return l
}
