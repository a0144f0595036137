package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"time"
)

// Reply is what a Session answers: response header and body, in pieces that are written with one system call and without
// copying them.
type Reply struct {
	// Buf is the first piece. If it is not nil it begins with four bytes for the size, which are filled in by the Server:
	// append behind them. Conn.Reply gives one from a pool, and takes it back after the write.
	Buf []byte
	// Pieces follow. They may be borrowed, such as from a mapping, until Release.
	Pieces net.Buffers
	// Raw means that there is no room for a size in Buf, and none is written: the pieces are all that goes out.
	Raw bool
	// Release is called once when the pieces are not needed any more, whether they were written or not. It may be nil.
	Release func()
	// Delay is waited before writing, by the system's clock.
	Delay time.Duration
	// MuteFor is how long the connection's next request is not read after writing, by Config.Clock (KIP-219).
	MuteFor time.Duration
	// CloseAfter ends the connection after writing, with the reason ErrCloseAfter.
	CloseAfter bool
}

// sizeRoom is what is in front of a frame.
const sizeRoom = 4

// chargeAbove is the size from which on a reply's own memory is counted: counting costs more than smaller ones are worth.
const chargeAbove = 16 << 10

// Reply returns the connection's own reply, empty, with room for the size in a Buf from the pools. It is valid until it
// has been written; to be called by the Session's Frame only, and the result to be returned by it or dropped.
func (c *Conn) Reply() *Reply {
	if c.encoded == nil {
		c.encoded = take(1)
	}
	c.reply = Reply{Buf: c.encoded.b[:sizeRoom], Pieces: c.pieces[:0]}
	return &c.reply
}

// send writes a reply. The caller releases it.
func (c *Conn) send(r *Reply) error {
	size := len(r.Buf)
	for _, piece := range r.Pieces {
		size += len(piece)
	}
	if !r.Raw {
		if r.Buf != nil {
			size -= sizeRoom
		}
		if size > math.MaxInt32 {
			return errors.New("reply above 2 GiB")
		}
		if r.Buf == nil {
			r.Buf = c.size[:]
		}
		binary.BigEndian.PutUint32(r.Buf, uint32(size))
	}
	if cap(r.Buf) > chargeAbove {
		c.holds = true
		c.server.config.Budget.charge(&c.hold, int64(cap(r.Buf)))
	}
	c.ioLimit(c.server.config.Limits.SlowReply, size)
	err := c.write(r)
	c.ioUnlimited()
	c.server.sent.Add(int64(sizeRoom + size))
	return err
}

func (c *Conn) write(r *Reply) error {
	if len(r.Pieces) == 0 {
		if len(r.Buf) == 0 {
			return nil
		}
		_, err := c.net.Write(r.Buf)
		return err
	}
	if !c.vectored {
		return c.writeGathered(r)
	}
	c.vector = append(append(c.vector[:0], r.Buf), r.Pieces...)
	c.rest = c.vector
	_, err := c.rest.WriteTo(c.net)
	clear(c.vector) // nothing borrowed stays reachable
	if cap(c.vector) > 64 {
		c.vector = nil
	}
	return err
}

// writeGathered is for connections without writev, TLS above all: small pieces are put together, since each Write is a
// record there.
func (c *Conn) writeGathered(r *Reply) error {
	scratch := take(gatherBytes)
	defer give(scratch)
	gathered, err := c.gather(scratch.b[:0], r.Buf)
	for i := 0; i < len(r.Pieces) && err == nil; i++ {
		gathered, err = c.gather(gathered, r.Pieces[i])
	}
	if err != nil || len(gathered) == 0 {
		return err
	}
	_, err = c.net.Write(gathered)
	return err
}

// gather adds a piece to what is gathered, or writes what is gathered, and long pieces as they are.
func (c *Conn) gather(gathered, piece []byte) ([]byte, error) {
	if len(gathered)+len(piece) <= gatherBytes {
		return append(gathered, piece...), nil
	}
	if len(gathered) > 0 {
		if _, err := c.net.Write(gathered); err != nil {
			return gathered, err
		}
	}
	if len(piece) <= gatherBytes/2 {
		return append(gathered[:0], piece...), nil
	}
	_, err := c.net.Write(piece)
	return gathered[:0], err
}

const gatherBytes = 16 << 10

// release ends a reply's borrowing.
func (c *Conn) release(r *Reply) {
	if r.Release != nil {
		r.Release()
	}
	if r == &c.reply {
		clear(r.Pieces)
		if c.pieces = r.Pieces[:0]; cap(c.pieces) > 64 {
			c.pieces = nil
		}
		if cap(r.Buf) > cap(c.encoded.b) {
			c.encoded.b = r.Buf // it grew
		}
		c.reply = Reply{}
	}
}
