package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/partlog/partlog/internal/batch"
)

// source is the bytes of one segment's file: a mapping, to be used under mmap.Guard, or reads of the file.
type source struct {
	segment *logSegment
	data    []byte // mapped; nil: read through file
	file    io.ReaderAt
	end     int64 // batches beyond are not looked at

	window *[]byte // of file, pooled
	from   int64   // position of the window
	filled int
}

const readWindow = 16 << 10

// suspicion says that a segment's bytes, or its index, are not what they should be: examine finds out.
type suspicion struct {
	segment  *logSegment
	position int64
	err      error
}

func (e *suspicion) Error() string {
	return fmt.Sprintf("segment %d is suspicious at position %d: %v", e.segment.base, e.position, e.err)
}

func (e *suspicion) Unwrap() error { return e.err }

func (s *source) suspect(position int64, err error) error {
	return &suspicion{segment: s.segment, position: position, err: err}
}

// bytes returns n bytes from position on, valid until the next call.
func (s *source) bytes(position int64, n int) ([]byte, error) {
	if position+int64(n) > s.end {
		return nil, s.suspect(position, batch.ErrShort)
	}
	if s.data != nil {
		return s.data[position : position+int64(n)], nil
	}
	if s.window != nil && position >= s.from && position+int64(n) <= s.from+int64(s.filled) {
		return (*s.window)[position-s.from:][:n], nil
	}
	want := int(min(int64(max(n, readWindow)), s.end-position))
	if s.window == nil || cap(*s.window) < want {
		s.close()
		s.window = getBuffer(want)
	}
	*s.window = (*s.window)[:want]
	s.from, s.filled = position, 0
	got, err := s.file.ReadAt(*s.window, position)
	if got < n {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, s.suspect(position, io.ErrUnexpectedEOF) // somebody has cut the file
		}
		return nil, err
	}
	s.filled = got
	return (*s.window)[:n], nil
}

// header returns the header of the batch at position, and the batch's size. Only the header's bytes may be looked at.
func (s *source) header(position int64) (batch.Batch, int64, error) {
	b, err := s.bytes(position, batch.HeaderSize)
	if err != nil {
		return nil, 0, err
	}
	n, err := batch.PeekLength(b)
	if err != nil {
		return nil, 0, s.suspect(position, err)
	}
	if position+int64(n) > s.end {
		return nil, 0, s.suspect(position, batch.ErrShort)
	}
	return batch.Batch(b), int64(n), nil
}

// whole returns the batch at position.
func (s *source) whole(position int64) (batch.Batch, error) {
	_, n, err := s.header(position)
	if err != nil {
		return nil, err
	}
	b, err := s.bytes(position, int(n))
	return batch.Batch(b), err
}

// close gives the window back.
func (s *source) close() {
	if s.window != nil {
		putBuffer(s.window)
		s.window, s.filled = nil, 0
	}
}
