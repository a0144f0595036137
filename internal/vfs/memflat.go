package vfs

import (
	"bytes"
	"slices"
)

// flat is the content of a file of a Mem that remembers no history: one stretch of memory, which regions share.
//
// Invariant: all of main.buf past n is zero, so that growing needs no clearing. It may be shorter than n: the rest is zeros.
type flat struct {
	main *view   // main.buf is the content and room to grow
	n    int64   // the size of the file
	old  []*view // views that regions still show, from before main was moved to grow

	shared bool // main.buf is another file's too, in a clone, and is not to be changed
}

// own gives the file bytes of its own. Regions go on showing the shared ones.
func (f *flat) own() {
	if !f.shared {
		return
	}
	f.shared = false
	f.main = &view{buf: append(make([]byte, 0, len(f.main.buf)), f.main.buf...)}
}

func newFlat() *flat { return &flat{main: &view{}} }

func (f *flat) size() int64 { return f.n }

func (f *flat) readAt(p []byte, off int64) int {
	if off >= f.n {
		return 0
	}
	p = p[:min(int64(len(p)), f.n-off)]
	n := 0
	if have := int64(len(f.main.buf)); off < have {
		n = copy(p, f.main.buf[off:])
	}
	clear(p[n:]) // extended by truncate, never written
	return len(p)
}

func (f *flat) writeAt(p []byte, off int64) {
	end := off + int64(len(p))
	if off >= f.n && isZero(p) { // as it is there already: a log that zeroes ahead takes no memory
		f.n = max(f.n, end)
		return
	}
	f.own()
	f.reserve(end)
	copy(f.main.buf[off:], p)
	for _, v := range f.old {
		v.patch(p, off, int64(len(p)))
	}
	f.n = max(f.n, end)
}

func (f *flat) truncate(size int64) {
	if size < f.n {
		f.own()
		f.main.patch(nil, size, f.n-size)
		for _, v := range f.old {
			v.patch(nil, size, f.n-size)
		}
		if size == 0 && f.main.refs == 0 {
			f.main = &view{} // gives the memory back
		}
	}
	f.n = size
}

// leastView is how much of a file a region shows beyond its end at least, if so much was asked for: a log that maps its
// new segment need not map it again after the first append.
const leastView = 64 << 10

func (f *flat) view(n int64) (*view, int64) {
	if !f.shared {
		f.reserve(min(n, max(2*f.n, leastView)))
	}
	f.main.refs++
	return f.main, min(n, int64(len(f.main.buf)))
}

func (f *flat) drop(v *view) {
	if i := slices.Index(f.old, v); i >= 0 {
		f.old = slices.Delete(f.old, i, i+1)
	}
}

// reserve makes room for n bytes. Memory that a region shows stays where it is and is written to besides.
func (f *flat) reserve(n int64) {
	have := int64(len(f.main.buf))
	if n <= have {
		return
	}
	grown := 2 * have
	if have > 16<<20 {
		grown = have + have/4
	}
	buf := make([]byte, roundUp(max(n, grown)))
	copy(buf, f.main.buf)
	if f.main.refs > 0 && !f.shared {
		f.old = append(f.old, f.main)
	}
	f.main, f.shared = &view{buf: buf}, false
}

// isZero costs little for what is not.
func isZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}
