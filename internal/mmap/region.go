package mmap

// Region is a read-only view of the first bytes of a file. Bytes and Populate may be called from any number of
// goroutines, but none may be using the region or its bytes when Unmap is called: see Mapping.
type Region interface {
	// Bytes is the view itself: valid until Unmap, never to be written to. Where the file is shorter than the region,
	// touching the bytes past its last page faults, so touch them under Guard.
	Bytes() []byte
	// Populate brings [off, off+n) into memory, so that touching it does not stall; the range is cut to the region.
	// It blocks on the disk. A range that the file does not have, or the disk cannot deliver, is a *FaultError.
	Populate(off, n int64) error
	// Unmap ends the view. A second call does nothing.
	Unmap() error
}
