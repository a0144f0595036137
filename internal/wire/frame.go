package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
)

// ReadFrame reads one frame to buf if that is long enough, else to memory of its own, which grows with what arrives. A size
// above limit or below zero is a *FrameSizeError, an end before the frame io.EOF, one within it io.ErrUnexpectedEOF.
func ReadFrame(r io.Reader, limit int32, buf []byte) ([]byte, error) {
	var head [sizeRoom]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < 0 || size > limit {
		return nil, &FrameSizeError{size, limit}
	}
	whole := int(size)
	for have := 0; ; {
		room := min(whole, cap(buf))
		if have < room {
			n, err := io.ReadFull(r, buf[have:room:cap(buf)])
			if have += n; err != nil {
				return nil, unexpected(err)
			}
		}
		if have == whole {
			return buf[:whole], nil
		}
		larger := make([]byte, min(whole, max(readBytes, have*growth)))
		copy(larger, buf[:have])
		buf = larger
	}
}

// readBytes is what ReadFrame allocates for any size that it is told.
const readBytes = 64 << 10

// WriteFrame writes one frame made of the pieces, with one system call if w is a socket.
func WriteFrame(w io.Writer, pieces ...[]byte) error {
	size := 0
	for _, piece := range pieces {
		size += len(piece)
	}
	if size > math.MaxInt32 {
		return fmt.Errorf("frame of %d bytes", size)
	}
	out := make(net.Buffers, 0, len(pieces)+1)
	out = append(out, binary.BigEndian.AppendUint32(nil, uint32(size)))
	out = append(out, pieces...)
	_, err := out.WriteTo(w)
	return err
}
