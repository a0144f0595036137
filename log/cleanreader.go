package log

import (
	"errors"
	"io"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

// cleanReader walks the batches of one segment after another, in its mapping or else by large reads, and checks each: what compaction
// copies gets new checksums, so nothing damaged may get through. It is used under mmap.Guard.
type cleanReader struct {
	log      *Log
	segment  *logSegment // nil: none is open
	mapped   *mapped     // referenced; nil: read the file
	file     vfs.File
	position int64 // of the next batch
	end      int64
	chain    chain
	bound    int64 // no offset is there or above
	checked  bool  // all of it has just been

	window *[]byte
	from   int64 // position of the window
	filled int
}

// open goes to the batch of s that holds from.
func (r *cleanReader) open(s *logSegment, from Offset) error {
	r.close()
	if err := r.log.readable(s); err != nil {
		return err
	}
	_, r.end = s.writtenEnd()
	if r.mapped = r.log.acquireMapping(s, r.end); r.mapped == nil {
		file, err := r.log.openForRead(s)
		if err != nil {
			return r.failed(s, err)
		}
		r.file = file
	}
	_, bound := r.log.boundOf(s)
	r.segment, r.bound = s, int64(bound)
	_, r.position = s.index.Load().Offsets.Lookup(int64(from))
	r.chain = chain{next: int64(s.base), epoch: batch.None, compacted: true}
	r.filled = 0
	return nil
}

// readable makes sure that all of s can be cleaned: every block has been checked since the open, and nothing is quarantined.
func (l *Log) readable(s *logSegment) error {
	if err := l.ensure(s); err != nil {
		return err
	}
	if !s.damaged.Load() && s.checked.trusted > 0 {
		if err := l.checkAll(s); err != nil {
			return err
		}
	}
	if s.damaged.Load() {
		if d, _ := s.nextDamage(s.base); d.err != nil {
			return l.corruption(s, d, d.offset)
		}
	}
	return nil
}

// next returns the next batch, nil behind the last. It is valid until the next call.
func (r *cleanReader) next() (batch.Batch, error) {
	if r.position >= r.end {
		return nil, nil
	}
	b, err := r.take()
	if err == nil {
		if err = r.chain.follow(b); err == nil && r.chain.next > r.bound {
			err = errBaseOffset
		}
		if err == nil && !r.checked {
			err = b.CheckCRC()
		}
		if err != nil {
			err = &suspicion{segment: r.segment, position: r.position, err: err}
		}
	}
	if err != nil {
		return nil, r.failed(r.segment, err)
	}
	r.position += int64(len(b))
	return b, nil
}

// take returns the whole batch at the position.
func (r *cleanReader) take() (batch.Batch, error) {
	if r.mapped != nil {
		return r.look()
	}
	for want := batch.HeaderSize; ; {
		if at := int(r.position - r.from); r.filled > 0 && at >= 0 && at+want <= r.filled {
			b, err := batch.Peek((*r.window)[at:r.filled])
			switch {
			case err == nil:
				return b, nil
			case !errors.Is(err, batch.ErrShort):
				return nil, &suspicion{segment: r.segment, position: r.position, err: err}
			}
			if want, err = batch.PeekLength((*r.window)[at:r.filled]); err != nil {
				return nil, &suspicion{segment: r.segment, position: r.position, err: err}
			}
		}
		if r.position+int64(want) > r.end {
			return nil, &suspicion{segment: r.segment, position: r.position, err: batch.ErrShort}
		}
		if err := r.fill(want); err != nil {
			return nil, err
		}
	}
}

// look is take in a mapping.
func (r *cleanReader) look() (batch.Batch, error) {
	for want := int64(batch.HeaderSize); ; {
		end := r.position + want
		if end > r.end {
			return nil, &suspicion{segment: r.segment, position: r.position, err: batch.ErrShort}
		}
		if err := r.mapped.populate(r.position, end, r.end); err != nil {
			return nil, &suspicion{segment: r.segment, position: r.position, err: err}
		}
		n, err := batch.PeekLength(r.mapped.Bytes()[r.position:end])
		if err != nil {
			return nil, &suspicion{segment: r.segment, position: r.position, err: err}
		}
		if int64(n) <= want {
			return batch.Batch(r.mapped.Bytes()[r.position:][:n:n]), nil
		}
		want = int64(n)
	}
}

// fill reads at least want bytes from the position on.
func (r *cleanReader) fill(want int) error {
	n := int(min(int64(max(want, stagingSize)), r.end-r.position))
	if r.window == nil || cap(*r.window) < n {
		r.dropWindow()
		r.window = getBuffer(n)
	}
	*r.window = (*r.window)[:n]
	r.from, r.filled = r.position, 0
	got, err := r.file.ReadAt(*r.window, r.position)
	if got < n {
		if err == nil || errors.Is(err, io.EOF) {
			return &suspicion{segment: r.segment, position: r.position, err: errShortFile}
		}
		return storageError(nil, "read", r.log.logPath(r.segment), err)
	}
	r.filled = n
	return nil
}

// failed is the error of a failed read of s: that somebody has taken the segment out of the log, or what is wrong with it.
func (r *cleanReader) failed(s *logSegment, err error) error {
	if s.removed.Load() {
		return ErrCleaningAborted
	}
	e, ok := errors.AsType[*suspicion](err)
	if !ok {
		return err
	}
	if err := r.log.examine(s); err != nil {
		return err
	}
	if d, _ := s.nextDamage(s.base); d.err != nil {
		return r.log.corruption(s, d, d.offset)
	}
	return r.log.corruptNow(e)
}

func (r *cleanReader) dropWindow() {
	if r.window != nil {
		putBuffer(r.window)
		r.window, r.filled = nil, 0
	}
}

// close gives file and buffer back.
func (r *cleanReader) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
	if r.mapped != nil {
		r.mapped.Release()
		r.mapped = nil
	}
	r.segment = nil
	r.dropWindow()
}
