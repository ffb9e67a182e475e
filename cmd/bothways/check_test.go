package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPasswordFilesAreSmall: what a configuration names as a password's file is read no further than one can be long.
func TestPasswordFilesAreSmall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	for _, n := range []int{1, maxSmall, maxSmall + 1} {
		if err := os.WriteFile(file, []byte(strings.Repeat("x", n)), 0o600); err != nil {
			t.Fatal(err)
		}
		data, err := readSmall(file)
		if n <= maxSmall && (err != nil || len(data) != n) || n > maxSmall && (err == nil || !strings.Contains(err.Error(), "want at most 4096 bytes")) {
			t.Errorf("%d bytes: read %d, %v", n, len(data), err)
		}
	}
	if _, err := readSmall("/dev/zero"); err == nil {
		t.Error("a file without an end is read")
	}
}
