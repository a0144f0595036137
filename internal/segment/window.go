package segment

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"
)

const (
	// windowSize is how much is read at once. Larger gained nothing: the bytes
	// must still be in the processor's cache when their checksum is computed.
	windowSize = 1 << 20
	// windowLimit is how far a window grows on the word of a batch's length
	// field alone.
	windowLimit = 8 << 20
)

// windows are reused; ReadAt has returned before one is put back, so no read can
// still write to it.
var windows = sync.Pool{New: func() any { return new([windowSize]byte) }}

// window reads a file through one buffer. What a scan asks for in order is read
// once; the part of a batch that straddles the end of the buffer is moved to its
// front.
type window struct {
	r      io.ReaderAt
	size   int64 // of the file, as far as it is read
	pooled *[windowSize]byte
	buf    []byte
	start  int64 // position of buf[0]
	n      int   // bytes of buf that were read
}

func newWindow(r io.ReaderAt, size int64) window {
	pooled := windows.Get().(*[windowSize]byte)
	return window{r: r, size: size, pooled: pooled, buf: pooled[:]}
}

func (w *window) release() {
	if w.pooled != nil {
		windows.Put(w.pooled)
	}
	*w = window{}
}

// at returns the n bytes from position on, which the file must have. They are
// valid until the next call.
func (w *window) at(position int64, n int) ([]byte, error) {
	if i := position - w.start; i >= 0 && i+int64(n) <= int64(w.n) {
		return w.buf[i : int(i)+n : int(i)+n], nil
	}
	return w.fill(position, n)
}

// rest returns what the buffer has from position on, at least n bytes.
func (w *window) rest(position int64, n int) ([]byte, error) {
	if _, err := w.at(position, n); err != nil {
		return nil, err
	}
	return w.buf[position-w.start : w.n], nil
}

func (w *window) fill(position int64, n int) ([]byte, error) {
	if n < 0 || position < 0 || position+int64(n) > w.size {
		panic(fmt.Sprintf("BUG: window [%d, +%d) of %d bytes", position, n, w.size))
	}
	buf := w.buf
	// A window of few batches would move most of what it reads to its front.
	if n > len(buf)/4 && (n > len(buf) || len(buf) < windowLimit) && int64(len(buf)) < w.size {
		buf = make([]byte, max(n, min(1<<bits.Len(uint(4*n)), windowLimit)))
	}
	kept := 0
	if i := position - w.start; i >= 0 && i < int64(w.n) {
		kept = copy(buf, w.buf[i:w.n])
	}
	w.buf, w.start, w.n = buf, position, kept
	want := int(min(int64(len(buf)), w.size-position))
	got, err := w.r.ReadAt(buf[kept:want], position+int64(kept))
	w.n += got
	if w.n < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the file is shorter than the caller said
		}
		return nil, fmt.Errorf("read at %d: %w", position, err)
	}
	return buf[:n:n], nil
}
