package wire

import (
	"encoding/binary"
	"io"
)

// inlineBytes is the buffer that every connection has: requests up to this size need one read, no other memory and no
// copying. Larger ones get memory of their own, and are read to it directly.
const inlineBytes = 1024

// A size alone claims no memory. When a frame has filled the inline buffer it gets growth times what has arrived of it, and
// the whole of it at once only up to the size of the largest frame that this connection has delivered, at most trustBytes.
const (
	growth     = 16
	trustBytes = 16 << 20
)

// next returns the next frame, without its size. It is valid until the next call of done.
func (c *Conn) next() ([]byte, error) {
	if c.begin == c.end {
		c.begin, c.end = 0, 0
		c.idleLimit()
		if err := c.fill(); err != nil {
			return nil, err
		}
		c.idleAt.Store(never)
	}
	if c.end-c.begin < sizeRoom {
		c.ioLimit(c.server.config.Limits.SlowFrame, 0)
		for c.end-c.begin < sizeRoom {
			if err := c.fillMore(sizeRoom); err != nil {
				return nil, err
			}
		}
	}
	size := int32(binary.BigEndian.Uint32(c.inline[c.begin:]))
	if size < 0 || size > c.maxFrame {
		return nil, &FrameSizeError{size, c.maxFrame}
	}
	whole := sizeRoom + int(size)
	if first := min(whole, len(c.inline)); c.end-c.begin < first {
		c.ioLimit(c.server.config.Limits.SlowFrame, whole)
		for c.end-c.begin < first {
			if err := c.fillMore(first); err != nil {
				return nil, err
			}
		}
	}
	c.ioUnlimited()
	if whole > len(c.inline) {
		return c.large(int(size))
	}
	frame := c.inline[c.begin+sizeRoom : c.begin+whole : c.begin+whole]
	c.begin += whole
	if c.server.config.Budget.full() {
		if err := c.reserve(0); err != nil {
			return nil, err
		}
	}
	return frame, nil
}

// large reads a frame that is longer than the inline buffer, which is full of its beginning.
func (c *Conn) large(size int) ([]byte, error) {
	have := c.end - c.begin - sizeRoom
	if err := c.grow(size, have); err != nil {
		return nil, err
	}
	copy(c.frame.b, c.inline[c.begin+sizeRoom:c.end])
	c.begin, c.end = 0, 0
	c.ioLimit(c.server.config.Limits.SlowFrame, size)
	for have < size {
		if have == len(c.frame.b) {
			c.ioUnlimited() // waiting for memory is not the peer's fault
			if err := c.grow(size, have); err != nil {
				return nil, err
			}
			c.ioLimit(c.server.config.Limits.SlowFrame, size-have)
		}
		n, err := c.net.Read(c.frame.b[have:min(size, len(c.frame.b))])
		have += n
		if err != nil && have < size {
			return nil, unexpected(err)
		}
	}
	c.ioUnlimited()
	c.trusted = max(c.trusted, min(size, trustBytes))
	return c.frame.b[:size:size], nil
}

// grow gives the frame more memory, for size bytes in the end, of which have are there.
func (c *Conn) grow(size, have int) error {
	want := min(size, have*growth)
	if size <= c.trusted {
		want = size
	}
	old := c.frame
	had := 0
	if old != nil {
		had = len(old.b)
	}
	if err := c.reserve(int64(blockBytes(want) - had)); err != nil {
		return err
	}
	c.frame = take(want)
	if more := len(c.frame.b) - blockBytes(want); more > 0 {
		c.server.config.Budget.charge(&c.hold, int64(more))
	}
	if old != nil {
		copy(c.frame.b, old.b[:have])
		give(old)
	}
	return nil
}

func (c *Conn) reserve(n int64) error {
	c.holds = true
	return c.server.config.Budget.reserve(c.ctx, &c.hold, n)
}

// fill reads what there is to the inline buffer, at least a byte.
func (c *Conn) fill() error {
	n, err := c.net.Read(c.inline[c.end:])
	c.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress // a Read that returns nothing would be asked forever
	}
	return err
}

// fillMore is fill within a frame of which the first need bytes are wanted next: it makes room for them.
func (c *Conn) fillMore(need int) error {
	if c.begin+need > len(c.inline) {
		c.end = copy(c.inline, c.inline[c.begin:c.end])
		c.begin = 0
	}
	return unexpected(c.fill())
}

// done gives back the frame's memory; what was reserved and charged for the request counts no more.
func (c *Conn) done() {
	c.Drop()
	if c.encoded != nil {
		give(c.encoded)
		c.encoded = nil
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
