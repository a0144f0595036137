package peer

import (
	"bufio"
	"io"
	"math/bits"
	"sync"
)

// buffer is pooled memory for a frame's body. Its owner gives it back once, when nobody reads it any more.
type buffer struct{ b []byte }

// Pooled buffers have 1 KiB to 16 MiB, in powers of two; the garbage collector has the others.
const minBufferBits, maxBufferBits = 10, 24

var buffers [maxBufferBits - minBufferBits + 1]sync.Pool

func takeBuffer(n int) *buffer {
	class := max(bits.Len(uint(max(n, 1)-1)), minBufferBits) - minBufferBits
	if class >= len(buffers) {
		return &buffer{make([]byte, n)}
	}
	if b, _ := buffers[class].Get().(*buffer); b != nil {
		b.b = b.b[:n]
		return b
	}
	return &buffer{make([]byte, n, 1<<(class+minBufferBits))}
}

// spareBuffer returns a buffer of n bytes if there is one that nobody uses, otherwise nil.
func spareBuffer(n int) *buffer {
	class := bits.Len(uint(n-1)) - minBufferBits
	if class >= len(buffers) {
		return nil
	}
	b, _ := buffers[class].Get().(*buffer)
	if b != nil {
		b.b = b.b[:n]
	}
	return b
}

func (b *buffer) give() {
	if b == nil {
		return
	}
	class := bits.Len(uint(cap(b.b))) - 1 - minBufferBits
	if class < 0 || class >= len(buffers) || cap(b.b) != 1<<(class+minBufferBits) {
		return
	}
	buffers[class].Put(b)
}

// believedBytes is what a size alone is given of new memory; beyond it memory grows with what arrives.
const believedBytes = 1 << 20

// readBody reads n bytes.
func readBody(r *bufio.Reader, n int) (*buffer, error) {
	var b *buffer
	if n > believedBytes {
		b = spareBuffer(n)
	}
	if b == nil {
		b = takeBuffer(min(n, believedBytes))
	}
	for have := 0; ; {
		if _, err := io.ReadFull(r, b.b[have:]); err != nil {
			b.give()
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if have = len(b.b); have == n {
			return b, nil
		}
		larger := takeBuffer(min(n, 2*have))
		copy(larger.b, b.b)
		b.give()
		b = larger
	}
}
