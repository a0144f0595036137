package compress

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipState is everything one gzip call needs, so that a pooled one makes the
// call free of allocations.
type gzipState struct {
	writer *gzip.Writer
	reader *gzip.Reader
	source bytes.Reader
	sink   sliceWriter
}

// sliceWriter appends to a slice.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// gzipWriters holds a pool for each level, -1 and 1 to 9, at level+1.
var gzipWriters [11]sync.Pool

var gzipReaders sync.Pool

func compressGzip(dst, src []byte, level int) ([]byte, error) {
	pool := &gzipWriters[level+1]
	s, _ := pool.Get().(*gzipState)
	if s == nil {
		s = new(gzipState)
		var err error
		if s.writer, err = gzip.NewWriterLevel(nil, level); err != nil {
			return dst, err
		}
	}
	s.sink.b = dst
	s.writer.Reset(&s.sink)
	_, err := s.writer.Write(src)
	if err == nil {
		err = s.writer.Close()
	}
	out := s.sink.b
	s.sink.b = nil
	pool.Put(s)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func decompressGzip(dst, src []byte, limit int) ([]byte, error) {
	s, _ := gzipReaders.Get().(*gzipState)
	if s == nil {
		s = &gzipState{reader: new(gzip.Reader)}
	}
	s.source.Reset(src)
	out, err := s.read(dst, limit)
	s.source.Reset(nil)
	gzipReaders.Put(s)
	return out, err
}

// read appends what the reader holds. It reads one byte more than allowed, to
// learn whether there is one.
func (s *gzipState) read(dst []byte, limit int) ([]byte, error) {
	if err := s.reader.Reset(&s.source); err != nil {
		return nil, corrupt(Gzip, err.Error())
	}
	start := len(dst)
	for {
		if len(dst) == cap(dst) {
			// Doubling follows what was really decoded, never a promise.
			dst = grow(dst, min(len(dst)-start+512, limit-(len(dst)-start)+1))
		}
		end := min(cap(dst), len(dst)+limit-(len(dst)-start)+1)
		n, err := s.reader.Read(dst[len(dst):end])
		dst = dst[:len(dst)+n]
		if len(dst)-start > limit {
			return nil, &TooLargeError{Codec: Gzip, Max: limit, Declared: -1}
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return nil, corrupt(Gzip, err.Error())
		}
	}
}
