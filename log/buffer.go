package log

import "sync"

// stagingSize is how many bytes of queued batches are put together for one write, and the unit of buffers for copied reads.
const stagingSize = 1 << 20

// maxPooledBuffer keeps the pool free of the buffer of a rare giant.
const maxPooledBuffer = 4 * stagingSize

// buffers are shared by all logs, so that an idle one holds none. A buffer is put back only when no I/O can still see it.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// getBuffer returns a buffer of length n whose bytes are anything.
func getBuffer(n int) *[]byte {
	p := buffers.Get().(*[]byte)
	if cap(*p) < n {
		*p = make([]byte, max(n, 64<<10))
	}
	*p = (*p)[:n]
	return p
}

func putBuffer(p *[]byte) {
	if cap(*p) <= maxPooledBuffer {
		buffers.Put(p)
	}
}
