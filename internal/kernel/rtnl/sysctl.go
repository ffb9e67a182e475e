package rtnl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"bothways/internal/kernel/namespace"
)

// sysctlPath turns a key into a file name, as sysctl(8) does: whichever of '.' and '/' comes first separates, and the
// other then stands for itself exchanged. So net.ipv4.conf.er0/100.rp_filter is the interface er0.100, and
// net/ipv4/conf/er0.100/rp_filter too.
func sysctlPath(key string) (string, error) {
	path := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		path = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, key)
	}
	if !fs.ValidPath(path) || path == "." {
		return "", fmt.Errorf("sysctl %q: no such key can be", key)
	}
	return "/proc/sys/" + path, nil
}

// Sysctl reads a kernel setting of the handle's network namespace.
func (h *Handle) Sysctl(key string) (string, error) {
	path, err := sysctlPath(key)
	if err != nil {
		return "", err
	}
	var b []byte
	err = namespace.Do(h.ns, func() (err error) {
		b, err = os.ReadFile(path)
		return err
	})
	return strings.TrimSpace(string(b)), sysctlError(key, err)
}

// SetSysctl writes a kernel setting of the handle's network namespace. The error wraps ErrNotSettable where this
// kernel or container does not have the key or does not let it be written.
func (h *Handle) SetSysctl(key, value string) error {
	path, err := sysctlPath(key)
	if err != nil {
		return err
	}
	return sysctlError(key, namespace.Do(h.ns, func() error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(value)
		return errors.Join(err, f.Close())
	}))
}

func sysctlError(key string, err error) error {
	if err == nil {
		return nil
	}
	for _, refusal := range []error{unix.EROFS, unix.EACCES, unix.EPERM, unix.ENOENT} {
		if errors.Is(err, refusal) {
			return fmt.Errorf("sysctl %s: %w: %w", key, ErrNotSettable, refusal)
		}
	}
	return fmt.Errorf("sysctl %s: %w", key, err)
}
