package handover

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type message struct {
	Name string
	List []int
}

func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	a, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	b, err = Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	for _, c := range []*Conn{a, b} {
		if err := c.Limit(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// TestFilesGoAlong sends more files than fit one piece, and messages in a row.
func TestFilesGoAlong(t *testing.T) {
	a, b := pair(t)
	dir := t.TempDir()
	var files []*os.File
	for i := range 450 {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprint(f, i)
		files = append(files, f)
	}
	sent := make(chan error, 1)
	go func() {
		err := a.Send(message{"first", []int{1, 2}}, files...)
		if err == nil {
			err = a.Send(message{Name: strings.Repeat("x", 1<<20)})
		}
		sent <- err
	}()
	var m message
	got, err := b.Receive(&m)
	if err != nil || m.Name != "first" || len(m.List) != 2 || len(got) != len(files) {
		t.Fatalf("%+v, %d files, %v", m, len(got), err)
	}
	for i, f := range got {
		var text [8]byte
		n, err := f.ReadAt(text[:], 0)
		if n == 0 || string(text[:n]) != fmt.Sprint(i) {
			t.Fatalf("file %d holds %q: %v", i, text[:n], err)
		}
		f.Close()
	}
	if got, err := b.Receive(&m); err != nil || len(got) != 0 || len(m.Name) != 1<<20 {
		t.Errorf("%d files, %v", len(got), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestReceiveRefuses(t *testing.T) {
	head := func(size, files int) string {
		return string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(size)), uint32(files)))
	}
	for want, bytes := range map[string]string{
		"message of":        head(MaxMessage+1, 0),
		"files, want":       head(2, MaxFiles+1),
		"unknown field":     head(11, 0) + `{"Other":1}`,
		"EOF":               head(100, 0) + "{}",
		"something follows": head(6, 0) + "{} {} ",
		"0 of 1 came":       head(2, 1) + "{}x",
		"cannot unmarshal":  head(10, 0) + `{"Name":1}`,
	} {
		a, b := pair(t)
		if _, err := a.c.Write([]byte(bytes)); err != nil {
			t.Fatal(err)
		}
		a.Close()
		var m message
		if _, err := b.Receive(&m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
