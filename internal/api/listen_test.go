package api

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("an ordinary file: %v", err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file is %q (%v)", data, err)
	}
	socket := filepath.Join(dir, "new", "socket")
	first, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is open to others: %v %v", info.Mode(), err)
	}
	if _, err := Listen(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "another daemon answers") {
		t.Errorf("a living daemon's socket: %v", err)
	}
	first.Close()
	// What a killed daemon leaves behind is a socket that nobody answers at.
	dead, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	dead.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	dead.Close()
	again, err := Listen(t.Context(), socket)
	if err != nil {
		t.Errorf("a dead daemon's socket: %v", err)
	} else {
		again.Close()
	}
}
