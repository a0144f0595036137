package vfs

import (
	"sync"

	"github.com/partlog/partlog/internal/mmap"
)

// view is memory that regions show. Whoever writes to the file writes to every view of it, so that none goes stale.
type view struct {
	buf  []byte
	refs int // regions not yet unmapped
}

// patch stores p, which was written to the file at off, as far as it lies in the view. A nil p stores n zeros.
func (v *view) patch(p []byte, off, n int64) {
	if off >= int64(len(v.buf)) {
		return
	}
	to := v.buf[off:min(int64(len(v.buf)), off+n)]
	if p == nil {
		clear(to)
		return
	}
	copy(to, p)
}

// memRegion is a "mapping" of a file in memory: plain heap memory, which the race detector watches.
type memRegion struct {
	mu   sync.Locker // the file's
	view *view
	buf  []byte
	drop func(*view) // called with mu held when the view's last region has gone
}

var _ mmap.Region = (*memRegion)(nil)

func (r *memRegion) Bytes() []byte { return r.buf }

// Populate has nothing to bring in.
func (r *memRegion) Populate(int64, int64) error { return nil }

func (r *memRegion) Unmap() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf == nil {
		return nil
	}
	r.buf = nil
	if r.view.refs--; r.view.refs == 0 {
		r.drop(r.view)
	}
	return nil
}
