package handover

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Record is a value in a file in memory, for another process to read after this one has died. Whenever that is, a value that
// was written whole is there: the last one, or, while that is being written, the one before. Beside it is a mark.
//
// The file begins with the head: where the value is, its length and its checksum, in one write. At markAt is the mark, and
// from placeA and placeB on are the two places that values have in turn.
type Record struct {
	file *os.File
	next int64
}

const (
	headSize = 16
	markAt   = 64
	placeA   = 4096
	placeB   = placeA + maxRecord
	// maxRecord bounds a value. The file takes the memory of what was written only.
	maxRecord = 64 << 20
)

// NewRecord makes one without a value.
func NewRecord(name string) (*Record, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("make file in memory", err)
	}
	return &Record{os.NewFile(uintptr(fd), name), placeA}, nil
}

// File is the record's, to be given to who keeps it.
func (r *Record) File() *os.File { return r.file }

// Close closes the file here.
func (r *Record) Close() error { return r.file.Close() }

// Write replaces the value.
func (r *Record) Write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	if len(text) > maxRecord {
		return fmt.Errorf("handover: record of %d bytes, want at most %d", len(text), maxRecord)
	}
	if _, err := r.file.WriteAt(text, r.next); err != nil {
		return fmt.Errorf("handover: write record: %w", err)
	}
	head := binary.BigEndian.AppendUint64(nil, uint64(r.next))
	head = binary.BigEndian.AppendUint32(head, uint32(len(text)))
	head = binary.BigEndian.AppendUint32(head, crc32.ChecksumIEEE(text))
	if _, err := r.file.WriteAt(head, 0); err != nil {
		return fmt.Errorf("handover: write record: %w", err)
	}
	r.next = placeA + placeB - r.next
	return nil
}

// Mark sets or takes away the mark.
func (r *Record) Mark(on bool) error {
	var b [1]byte
	if on {
		b[0] = 1
	}
	if _, err := r.file.WriteAt(b[:], markAt); err != nil {
		return fmt.Errorf("handover: mark record: %w", err)
	}
	return nil
}

// ReadRecord reads what another process wrote last. A key that v does not have is an error.
func ReadRecord(f *os.File, v any) (marked bool, err error) {
	var head [headSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return false, fmt.Errorf("handover: read record: %w", err)
	}
	place, size := binary.BigEndian.Uint64(head[:]), binary.BigEndian.Uint32(head[8:])
	if place != placeA && place != placeB || size > maxRecord {
		return false, errors.New("handover: read record: no value is there")
	}
	text := make([]byte, size)
	if _, err := f.ReadAt(text, int64(place)); err != nil {
		return false, fmt.Errorf("handover: read record: %w", err)
	}
	if crc32.ChecksumIEEE(text) != binary.BigEndian.Uint32(head[12:]) {
		return false, errors.New("handover: read record: it is damaged")
	}
	var mark [1]byte
	if _, err := f.ReadAt(mark[:], markAt); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("handover: read record: %w", err)
	}
	if err := strictly(text, v); err != nil {
		return false, fmt.Errorf("handover: read record: %w", err)
	}
	return mark[0] != 0, nil
}

// strictly reads one value without unknown keys, and nothing behind it.
func strictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.InputOffset() != int64(len(text)) {
		err = errors.New("something follows the value")
	}
	return err
}
