package message

import "encoding/binary"

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

func put16(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }
func put32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }
