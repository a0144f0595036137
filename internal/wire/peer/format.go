package peer

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// All integers are big-endian. A frame after the handshake:
//
//	size 4 | sequence 8 | type 1 | kind 1 | 0 0 | correlation 4 | aux 4 | body          size is 20 + the body's
//
// sequence counts the frames of one direction, from a start that is a hash of both ends' nonces. kind is the caller's, in calls and
// messages; correlation joins a call, its answer and its cancellation, a ping and its pong; aux is how many
// milliseconds the caller waits (0: as long as it takes), and in a failure the handler's code.
const (
	sizeBytes = 4
	headBytes = 20
)

// frameType is what a frame is. The numbers are for ever.
type frameType uint8

const (
	frameReady   frameType = 1 // the dialer's first: it accepts the welcome
	frameCall    frameType = 2
	frameReply   frameType = 3
	frameFailure frameType = 4 // the body is the error's text
	frameCancel  frameType = 5 // the caller waits no more; the call is answered all the same
	frameMessage frameType = 6
	framePing    frameType = 7
	framePong    frameType = 8
	frameBye     frameType = 9 // the body is the reason; nothing follows
)

// head is what stands before a frame's body.
type head struct {
	sequence    uint64
	typ         frameType
	kind        uint8
	correlation uint32
	aux         uint32
}

// appendHead appends size and head of a frame whose body has n bytes.
func appendHead(dst []byte, h head, n int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(headBytes+n))
	dst = binary.BigEndian.AppendUint64(dst, h.sequence)
	dst = append(dst, byte(h.typ), h.kind, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, h.correlation)
	return binary.BigEndian.AppendUint32(dst, h.aux)
}

// parseHead reads size and head, and returns how long the body is. expected is the sequence number that is due.
func parseHead(b *[sizeBytes + headBytes]byte, expected uint64, maxBody int) (h head, body int, err error) {
	size := int32(binary.BigEndian.Uint32(b[:]))
	if size < headBytes || int(size)-headBytes > maxBody {
		return h, 0, fmt.Errorf("%w: frame of %d bytes, where %d to %d are taken", ErrFrame, size, headBytes, maxBody+headBytes)
	}
	h = head{
		sequence:    binary.BigEndian.Uint64(b[4:]),
		typ:         frameType(b[12]),
		kind:        b[13],
		correlation: binary.BigEndian.Uint32(b[16:]),
		aux:         binary.BigEndian.Uint32(b[20:]),
	}
	if h.sequence != expected {
		return h, 0, fmt.Errorf("%w: number %d where %d is due", ErrSequence, h.sequence, expected)
	}
	if h.typ < frameReady || h.typ > frameBye || b[14] != 0 || b[15] != 0 {
		return h, 0, fmt.Errorf("%w: type %d", ErrFrame, h.typ)
	}
	return h, int(size) - headBytes, nil
}

// The handshake: the dialer's hello, the acceptor's welcome or refusal, then the dialer's first frame, or its refusal. Each:
//
//	size 4 | "PLpeer" 6 | type 1 | fields
//
// hello and welcome have these fields, and may have more behind them in later versions:
//
//	min version 2 | max version 2 | version 2 | nonce 16 | cluster n 1, n | node 4 | target 4 | incarnation 16 | directory 16 |
//	epoch 8 | min feature 2 | max feature 2 | calls 4 | bytes 8 | max frame 4
//
// version is the one that was chosen, in a welcome; target is whom the dialer wants to reach. A refusal:
//
//	code 1 | node 4 | cluster n 1, n | detail n 2, n
const (
	magic          = "PLpeer"
	handshakeBytes = 4 << 10 // of one message, at most
	handshakeHello = 1
	handshakeOK    = 2
	handshakeNo    = 3
)

// The versions of the protocol that this code speaks.
const minVersion, maxVersion int16 = 1, 1

type nonce [16]byte

// sequences returns where the numbers of the dialer's and the acceptor's frames begin.
func sequences(dialer, acceptor nonce) (out, in uint64) {
	return xxhash.Sum64(append(dialer[:], acceptor[:]...)), xxhash.Sum64(append(acceptor[:], dialer[:]...))
}
