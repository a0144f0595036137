package peer

import (
	"encoding/binary"
	"fmt"
)

// Identity is who a node says it is, in the handshake.
type Identity struct {
	ClusterID   string   // at most 255 bytes
	NodeID      int32    // not negative
	Incarnation [16]byte // drawn anew by each process: tells a restart from a second node
	DirectoryID [16]byte // of the data directory (KIP-858): tells a copy from the original
	Epoch       int64    // the node's registration with the controller as it knows it; -1 before it has one
	MinFeature  int16    // the feature levels that the node's code can work at
	MaxFeature  int16
}

// hello is what both sides say of themselves.
type hello struct {
	Identity
	minVersion, maxVersion int16
	version                int16 // in a welcome
	nonce                  nonce
	target                 int32
	window                 Window
	maxFrame               int32
}

func appendHello(dst []byte, typ byte, h hello) []byte {
	dst = append(append(dst, magic...), typ)
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.minVersion))
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.maxVersion))
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.version))
	dst = append(dst, h.nonce[:]...)
	dst = append(append(dst, byte(len(h.ClusterID))), h.ClusterID...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.NodeID))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.target))
	dst = append(dst, h.Incarnation[:]...)
	dst = append(dst, h.DirectoryID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Epoch))
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.MinFeature))
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.MaxFeature))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.window.Calls))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.window.Bytes))
	return binary.BigEndian.AppendUint32(dst, uint32(h.maxFrame))
}

// refusal is a no, as it is sent.
type refusal struct {
	code    uint8
	node    int32
	cluster string
	detail  string
}

func appendRefusal(dst []byte, r refusal) []byte {
	dst = append(append(dst, magic...), handshakeNo, r.code)
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.node))
	dst = append(append(dst, byte(len(r.cluster))), r.cluster...)
	r.detail = r.detail[:min(len(r.detail), 1024)]
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.detail)))
	return append(dst, r.detail...)
}

// parseHandshake reads a message of the handshake: a hello or welcome, or a refusal.
func parseHandshake(b []byte) (typ byte, h hello, r refusal, err error) {
	f := fields{b: b}
	if string(f.take(len(magic))) != magic {
		return 0, h, r, fmt.Errorf("%w: this is no node of partlog", ErrHandshake)
	}
	switch typ = f.u8(); typ {
	case handshakeHello, handshakeOK:
		h.minVersion, h.maxVersion, h.version = int16(f.u16()), int16(f.u16()), int16(f.u16())
		copy(h.nonce[:], f.take(16))
		h.ClusterID = string(f.take(int(f.u8())))
		h.NodeID, h.target = int32(f.u32()), int32(f.u32())
		copy(h.Incarnation[:], f.take(16))
		copy(h.DirectoryID[:], f.take(16))
		h.Epoch = int64(f.u64())
		h.MinFeature, h.MaxFeature = int16(f.u16()), int16(f.u16())
		h.window = Window{Calls: int(f.u32()), Bytes: int64(f.u64())}
		h.maxFrame = int32(f.u32())
		switch {
		case f.short:
		case h.NodeID < 0 || h.Epoch < -1 || h.window.Calls < 1 || h.window.Bytes < 1 || h.maxFrame < 1:
			return 0, h, r, fmt.Errorf("%w: numbers out of range", ErrHandshake)
		}
	case handshakeNo:
		r.code, r.node = f.u8(), int32(f.u32())
		r.cluster = string(f.take(int(f.u8())))
		r.detail = string(f.take(int(f.u16())))
	default:
		return 0, h, r, fmt.Errorf("%w: message of type %d", ErrHandshake, typ)
	}
	if f.short {
		return 0, h, r, fmt.Errorf("%w: message of %d bytes is cut short", ErrHandshake, len(b))
	}
	return typ, h, r, nil
}

// fields reads one field after the other; behind the end all are zero, and short is set.
type fields struct {
	b     []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.b, f.short = nil, true
		return nil
	}
	taken := f.b[:n]
	f.b = f.b[n:]
	return taken
}

func (f *fields) number(n int) (v uint64) {
	for _, b := range f.take(n) {
		v = v<<8 | uint64(b)
	}
	return v
}

func (f *fields) u8() uint8   { return uint8(f.number(1)) }
func (f *fields) u16() uint16 { return uint16(f.number(2)) }
func (f *fields) u32() uint32 { return uint32(f.number(4)) }
func (f *fields) u64() uint64 { return f.number(8) }
