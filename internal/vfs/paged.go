package vfs

import "slices"

// paged is the content of a file of a Mem in crash mode: pages as they are, and as they are on disk.
//
// Invariants: bytes past the size are zero, on both sides. The table of pages ends with its last page that is not nil,
// or earlier than it could; what it does not have is zeros.
type paged struct {
	n       int64
	pages   []*page
	disk    []*page
	diskN   int64
	history []history // of the pages that differ, or may, between pages and disk; in the order of their index
	sizes   []int64   // the sizes since the last sync, oldest first
	lost    []int64   // pages that pages has and the disk will never get, unless they are written again

	// Tables are shared with clones until they change.
	ownPages, ownDisk bool

	views []*view
}

func (p *paged) size() int64 { return p.n }

func (p *paged) page(i int64) *page { return at(p.pages, i) }

func at(pages []*page, i int64) *page {
	if i < int64(len(pages)) {
		return pages[i]
	}
	return nil
}

func (p *paged) readAt(b []byte, off int64) int {
	if off >= p.n {
		return 0
	}
	b = b[:min(int64(len(b)), p.n-off)]
	for done := 0; done < len(b); {
		at := off + int64(done)
		done += copy(b[done:], p.page(at / pageSize).bytes()[at%pageSize:])
	}
	return len(b)
}

func (p *paged) writeAt(b []byte, off int64) {
	for done := 0; done < len(b); {
		at := off + int64(done)
		old, next := p.page(at/pageSize), new(page)
		if old != nil && len(b)-done < pageSize {
			next.data = old.data
		}
		n := copy(next.data[at%pageSize:], b[done:])
		if old != nil && n < pageSize && len(b)-done >= pageSize { // the first page of a long write
			copy(next.data[:at%pageSize], old.data[:])
		}
		p.set(at/pageSize, next)
		done += n
	}
	p.grow(off + int64(len(b)))
	for _, v := range p.views {
		v.patch(b, off, int64(len(b)))
	}
}

// set gives a page a new content.
func (p *paged) set(i int64, next *page) {
	if !p.ownPages {
		p.pages, p.ownPages = slices.Clone(p.pages), true
	}
	p.pages = put(p.pages, i, next)
	k, known := findHistory(p.history, i)
	if !known {
		p.history = slices.Insert(p.history, k, history{index: i})
	}
	p.history[k].add(next)
	if k, found := slices.BinarySearch(p.lost, i); found {
		p.lost = slices.Delete(p.lost, k, k+1)
	}
}

func put(pages []*page, i int64, next *page) []*page {
	if missing := i + 1 - int64(len(pages)); missing > 0 {
		pages = append(pages, make([]*page, missing)...)
	}
	pages[i] = next
	return pages
}

// grow notes that a write ended at end. The system moves the size on as it allocates pages, so a crash may find it at any
// page boundary on the way.
func (p *paged) grow(end int64) {
	if end <= p.n {
		return
	}
	first, last := roundUp(p.n+1), (end-1)/pageSize*pageSize
	const ends = 8 // of a long way, the first and the last ones
	for step := first; step <= last; step += pageSize {
		if step == first+ends*pageSize {
			step = max(step, last-ends*pageSize)
		}
		p.sizes = append(p.sizes, step)
	}
	p.resize(end)
}

// maxSizes bounds what is remembered of a file that grows without a sync.
const maxSizes = 256

func (p *paged) resize(size int64) {
	if len(p.sizes) >= maxSizes {
		kept := p.sizes[:0:0]
		for i := 1; i < len(p.sizes); i += 2 {
			kept = append(kept, p.sizes[i])
		}
		p.sizes = kept
	}
	p.sizes = append(p.sizes, size)
	p.n = size
}

// possibleSizes lists the sizes that may be found, the durable one first and the newest last.
func (p *paged) possibleSizes() []int64 {
	list := []int64{p.diskN}
	if len(p.sizes) == 0 {
		return list
	}
	newest := p.sizes[len(p.sizes)-1]
	for _, size := range p.sizes {
		if size != newest && !slices.Contains(list, size) {
			list = append(list, size)
		}
	}
	if len(list) > 1 || newest != p.diskN {
		list = append(list, newest)
	}
	return list
}

func (p *paged) truncate(size int64) {
	if size == p.n {
		return
	}
	if size < p.n {
		for i := roundUp(size) / pageSize; i < int64(len(p.pages)); i++ {
			if p.pages[i] != nil {
				p.set(i, nil)
			}
		}
		if i := size / pageSize; size%pageSize != 0 {
			if old := p.page(i); old.cut(int(size%pageSize)) != old {
				p.set(i, old.cut(int(size%pageSize)))
			}
		}
		for _, v := range p.views {
			v.patch(nil, size, p.n-size)
		}
	}
	p.resize(size)
}

// sync brings the disk up to date.
func (p *paged) sync() {
	if len(p.history) > 0 && !p.ownDisk {
		p.disk, p.ownDisk = slices.Clone(p.disk), true
	}
	for i := range p.history {
		h := &p.history[i]
		p.disk = put(p.disk, h.index, h.newest())
	}
	p.diskN = p.n
	p.history, p.sizes = nil, nil
	for len(p.disk) > 0 && p.disk[len(p.disk)-1] == nil {
		p.disk = p.disk[:len(p.disk)-1]
	}
}

// lose forgets that there is anything to write. The size stays to be synced, as the system keeps it elsewhere.
func (p *paged) lose() {
	for i := range p.history {
		if k, found := slices.BinarySearch(p.lost, p.history[i].index); !found {
			p.lost = slices.Insert(p.lost, k, p.history[i].index)
		}
	}
	p.history = nil
}

// dropCache shows what the disk has, where that is not what it should be. Mapped pages stay, as with Linux.
func (p *paged) dropCache(off, n int64) {
	if len(p.views) > 0 {
		return
	}
	end := off + n
	if n == 0 {
		end = p.n
	}
	if !p.ownPages && len(p.lost) > 0 {
		p.pages, p.ownPages = slices.Clone(p.pages), true
	}
	p.lost = slices.DeleteFunc(p.lost, func(i int64) bool {
		if i*pageSize < off || i*pageSize >= end {
			return false
		}
		found := at(p.disk, i)
		if rest := p.n - i*pageSize; rest < pageSize {
			found = found.cut(int(max(rest, 0)))
		}
		p.pages = put(p.pages, i, found)
		return true
	})
}

func (p *paged) view(n int64) (*view, int64) {
	shown := min(n, max(roundUp(p.n), leastView))
	for _, v := range p.views {
		if int64(len(v.buf)) >= shown {
			v.refs++
			return v, min(n, int64(len(v.buf)))
		}
	}
	v := &view{buf: make([]byte, roundUp(shown)), refs: 1}
	p.readAt(v.buf, 0)
	p.views = append(p.views, v)
	return v, shown
}

// drop spoils the view, so that a test notices who still reads it.
func (p *paged) drop(v *view) {
	i := slices.Index(p.views, v)
	p.views = slices.Delete(p.views, i, i+1)
	for i := range v.buf {
		v.buf[i] = 0xDB
	}
}
